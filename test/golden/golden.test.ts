/**
 * Golden packets: capture files that a person can open in Wireshark, and the
 * counters that go with them. What is on disk is what is checked; `npm run
 * golden` writes it anew.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { CASES } from "./cases.js";
import { offTheWire, readPcap } from "./pcap.js";
import { run } from "./run.js";

const hasTshark = spawnSync("tshark", ["--version"], { stdio: "ignore" }).status === 0;
const here = new URL(".", import.meta.url);
const names = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());

it("are there for every case, and for no other", () => {
  expect(names.map(({ name }) => name).sort()).toEqual(Object.keys(CASES).sort());
});

describe.each(names.map(({ name }) => name))("golden packets: %s", (name) => {
  const file = (part: string) => new URL(`${name}/${part}`, here);
  const packets = (part: string) => readPcap(readFileSync(file(part)));

  it("come out as they did, and are counted as they were", async () => {
    const result = await run({
      ...CASES[name]!,
      device: packets("device-in.pcap"),
      wire: packets("wire-in.pcap").map(offTheWire),
    });
    expect(result.wire).toEqual(packets("wire-out.pcap"));
    expect(result.device).toEqual(packets("device-out.pcap"));
    expect(result.counters).toEqual(JSON.parse(readFileSync(file("counters.json"), "utf8")));
  });

  it("are what Wireshark reads, with every checksum right", ({ skip }) => {
    if (!hasTshark) skip("no tshark");
    const decode = (part: string) =>
      execFileSync(
        "tshark",
        [
          ["-r", fileURLToPath(file(part))],
          ["-d", "udp.port==8472,vxlan"],
          ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"],
          ["-o", "udp.check_checksum:TRUE"],
          ["-o", "sctp.checksum:CRC 32c"],
          [
            "-Y",
            ["ip", "tcp", "udp", "icmp", "icmpv6", "sctp"].reduce(
              (filter, protocol) => `${filter} || ${protocol}.checksum.status == 0`,
              "_ws.malformed",
            ),
          ],
        ].flat(),
        { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
      );
    expect(decode("device-out.pcap")).toBe("");
    expect(decode("wire-out.pcap")).toBe("");
  });
});
