import { expect, it } from "vitest";
import { framesIn } from "../../src/explain/pcap.js";
import {
  type PcapngPacket,
  pcapngHeader,
  pcapngPacket,
  pcapngStatistics,
} from "../../src/io/pcapng.js";
import { ipv4, random, seedOfRun } from "../packets.js";
import { optionOf, readPcapng } from "./pcapng.js";

const rnd = random(seedOfRun("pcapng"));
const below = (n: number) => Math.floor(rnd() * n);

const packet = (): PcapngPacket => {
  const bytes = Uint8Array.from({ length: below(100) }, () => below(256));
  return {
    time: BigInt(below(2 ** 31)) * 1_000_000_000n + BigInt(below(1e9)),
    direction: rnd() < 0.5 ? "in" : "out",
    bytes,
    length: bytes.length + below(3) * below(70_000),
    comment: "é".repeat(below(20)),
    lost: rnd() < 0.3 ? below(2 ** 40) : 0,
  };
};

it("a file is read back as it was written", () => {
  const packets = Array.from({ length: 200 }, packet);
  const file = readPcapng(
    Buffer.concat([
      pcapngHeader("weft", "tunnel", 4711),
      ...packets.map(pcapngPacket),
      pcapngStatistics(5n, 210, 10),
    ]),
  );
  expect(file).toMatchObject({
    application: "weft",
    interface: { linkType: 101, snaplen: 4711, name: "tunnel" },
    statistics: { received: 210n, dropped: 10n },
  });
  for (const [i, { time, bytes, length, options }] of file.packets.entries()) {
    const given = packets[i]!;
    expect({ time, bytes, length }).toEqual({
      time: given.time,
      bytes: given.bytes,
      length: given.length,
    });
    expect(optionOf(options, 1).toString()).toBe(given.comment);
    expect(optionOf(options, 2).readUInt32LE()).toBe(given.direction === "in" ? 1 : 2);
    const lost = options.filter(([code]) => code === 4).map(([, value]) => value.readBigUInt64LE());
    expect(lost).toEqual(given.lost > 0 ? [BigInt(given.lost)] : []);
  }
});

it("a comment too long for its option is cut off", () => {
  const long = pcapngPacket({ ...packet(), comment: "x".repeat(70_000) });
  const file = [pcapngHeader("", "", 1), long, pcapngStatistics(0n, 1, 0)];
  const [read] = readPcapng(Buffer.concat(file)).packets;
  expect(optionOf(read!.options, 1)).toHaveLength(0xffff);
});

it("what is in it can be explained", () => {
  const bytes = ipv4({ src: "10.244.1.1", dst: "10.244.2.1", payload: new Uint8Array(30) });
  const whole = { ...packet(), bytes, length: bytes.length };
  const cut = { ...whole, bytes: bytes.subarray(0, 25) };
  const file = [pcapngHeader("weft", "weft", 50), ...[whole, cut].map(pcapngPacket)];
  const frames = [...framesIn(Buffer.concat(file), 10)];
  expect(frames.map(({ packet }) => packet?.length)).toEqual([50, 50]);
  expect(Buffer.compare(frames[0]!.packet!, bytes)).toBe(0);
});
