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
  const addresses = async () => (await hosts.addresses()).map(formatAddress);
  const known = ["192.0.2.1", "2001:db8::2"];
  expect(await Promise.all([addresses(), addresses()])).toEqual([known, known]);
  expect(asked.filter((name) => name === "slow.example")).toHaveLength(1);
  answer([{ address: "192.0.2.9" }, { address: "fe80::1%eth0" }]);
  await expect.poll(() => addresses()).toEqual(["192.0.2.9", ...known]);
});
