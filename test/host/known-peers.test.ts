import { expect, it } from "vitest";
import { formatAddress } from "../../src/address.js";
import { JoinHosts, type Resolve } from "../../src/host/known-peers.js";

const join = (...hosts: string[]) => hosts.map((host) => ({ host, port: 6783 }));

it("a name whose lookup still runs is not looked up again, and delays no other", async () => {
  const asked: string[] = [];
  let answer: (found: { address: string }[]) => void = () => {};
  const resolve: Resolve = (name) => {
    asked.push(name);
    if (name === "slow.example") return new Promise((settle) => (answer = settle));
    return name === "h1.example" ? Promise.resolve([{ address: "192.0.2.1" }]) : Promise.reject();
  };
  const hosts = new JoinHosts(
    join("slow.example", "h1.example", "none.example", "2001:db8::2"),
    resolve,
  );
  const addresses = async () =>
    (await hosts.addresses(new AbortController().signal)).map(formatAddress);
  const known = ["192.0.2.1", "2001:db8::2"];
  expect(await Promise.all([addresses(), addresses()])).toEqual([known, known]);
  expect(asked.filter((name) => name === "slow.example")).toHaveLength(1);
  answer([{ address: "192.0.2.9" }, { address: "fe80::1%eth0" }]);
  await expect.poll(() => addresses()).toEqual(["192.0.2.9", ...known]);
});

it("an abort ends the wait for a name at once, and leaves no timer", async () => {
  const stopping = new AbortController();
  const hosts = new JoinHosts(join("slow.example"), () => new Promise(() => {}));
  const timers = () => process.getActiveResourcesInfo().filter((it) => it === "Timeout").length;
  const before = timers();
  const addresses = hosts.addresses(stopping.signal);
  const reason = new Error("the agent was stopped");
  stopping.abort(reason);
  await expect(addresses).rejects.toBe(reason);
  await expect(hosts.addresses(stopping.signal)).rejects.toBe(reason);
  expect(timers()).toBe(before);
});
