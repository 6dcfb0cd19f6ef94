/** The segment size that a SYN announces, lowered to what the tunnel takes. */
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  fragmentHeader,
  ipv4,
  ipv6,
  isSound,
  partsOf,
  seedOfRun,
  TCP,
  type TcpFields,
  tcp,
  vxlan,
} from "../packets.js";
import { rounds } from "../rounds.js";
import { A, B, datagramsOf, Host, hostOf, MTU, read } from "./host.js";
import { isPartial, oneHopLess, takeApart } from "./slow.js";

const seed = seedOfRun("clamp");
const SYN = 0x02;

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});

/** What comes out at the other end of a packet sent, or received. */
const out = (packet: Uint8Array) =>
  datagramsOf(host.send([read(packet)]).sent[0]!)[0]!.subarray(22);
const into = (packet: Uint8Array) =>
  host.receive([{ from: B.endpoint, bytes: vxlan(packet) }]).written[0]!;

function syn(
  options: number[],
  { from = A, to = B, family = 4 as 4 | 6, more = {} as TcpFields } = {},
): Uint8Array {
  const [src, dst] = [hostOf(from, family), hostOf(to, family)];
  const padded = Uint8Array.from(
    { length: Math.ceil(options.length / 4) * 4 },
    (_, i) => options[i] ?? 0,
  );
  const payload = tcp(src, dst, new Uint8Array(0), { flags: SYN, options: padded, ...more });
  return (family === 4 ? ipv4 : ipv6)({ src, dst, protocol: TCP, payload });
}

const optionsOf = (packet: Uint8Array) => [...packet.subarray(partsOf(packet).transport + 20)];
const mss = (value: number) => [2, 4, value >> 8, value & 0xff];
const MSS_4 = mss(MTU - 40);
const MSS_6 = mss(MTU - 60);

/**
 * Reads options the way RFC 9293, 3.1 tells: where the announced segment size
 * stands, if every option before it is sound.
 */
function slowFind(options: number[]): number | undefined {
  for (let i = 0; i < options.length; ) {
    if (options[i] === 0) return undefined;
    if (options[i] === 1) i += 1;
    else {
      const length = options[i + 1] ?? 0;
      if (length < 2 || i + length > options.length) return undefined;
      if (options[i] === 2 && length === 4) return i + 2;
      i += length;
    }
  }
  return undefined;
}

function slowClamp(options: number[], largest: number): number[] {
  const at = slowFind(options);
  if (at === undefined || options[at]! * 256 + options[at + 1]! <= largest) return options;
  return options.with(at, largest >> 8).with(at + 1, largest & 0xff);
}

describe("clamp", () => {
  it.each<[string, number[], number[]]>([
    ["alone", mss(1460), MSS_4],
    ["the largest", mss(65535), MSS_4],
    ["at an odd place", [1, ...mss(9000), 1, 1, 1], [1, ...MSS_4, 1, 1, 1]],
    ["behind others", [4, 2, 3, 3, 7, ...mss(1460)], [4, 2, 3, 3, 7, ...MSS_4]],
    ["at the very end", [1, 1, 1, 1, ...mss(1460)], [1, 1, 1, 1, ...MSS_4]],
    ["small enough", mss(MTU - 40), mss(MTU - 40)],
    ["smaller", mss(536), mss(536)],
    ["absent", [4, 2, 1, 1], [4, 2, 1, 1]],
    ["no options", [], []],
    ["behind the end of options", [0, ...mss(1460)], [0, ...mss(1460)]],
    ["behind a length of 0", [3, 0, ...mss(1460)], [3, 0, ...mss(1460)]],
    ["behind a length of 1", [3, 1, ...mss(1460)], [3, 1, ...mss(1460)]],
    ["behind one that ends past the end", [3, 9, ...mss(1460)], [3, 9, ...mss(1460)]],
    ["past the end itself", [1, 1, 2, 4], [1, 1, 2, 4]],
    ["of another length", [2, 3, 255, 2, 2, 255, 255, 255], [2, 3, 255, 2, 2, 255, 255, 255]],
    ["a kind without a length at the end", [1, 1, 1, 2], [1, 1, 1, 2]],
  ])("%s", (_, options, wanted) => {
    const sent = out(syn(options));
    expect(optionsOf(sent).slice(0, wanted.length)).toEqual(wanted);
    expect(isSound(sent)).toBe(true);
    const written = into(syn(options, { from: B, to: A })).subarray(10);
    expect(optionsOf(written).slice(0, wanted.length)).toEqual(wanted);
    expect(isSound(written)).toBe(true);
  });

  it("leaves room for the larger headers of IPv6", () => {
    for (const [options, wanted] of [
      [mss(1440), MSS_6],
      [
        [1, ...mss(1440), 1, 1, 1],
        [1, ...MSS_6, 1, 1, 1],
      ],
    ] as const) {
      const sent = out(syn([...options], { family: 6 }));
      expect(optionsOf(sent)).toEqual(wanted);
      expect(isSound(sent)).toBe(true);
      expect(
        optionsOf(into(syn([...options], { family: 6, from: B, to: A })).subarray(10)),
      ).toEqual(wanted);
    }
  });

  it("changes nothing but the size and the checksum, whatever the options are", () => {
    const option = fc.oneof(
      fc.constant([0]),
      fc.constant([1]),
      fc.tuple(fc.constantFrom(1000, 1410, 1411, 1460, 65535)).map(([size]) => mss(size)),
      fc
        .tuple(fc.nat(255), fc.nat(12), fc.array(fc.nat(255), { maxLength: 8 }))
        .map(([kind, length, rest]) => [kind, length, ...rest]),
    );
    const lists = fc.array(option, { maxLength: 12 }).map((all) => all.flat().slice(0, 40));
    fc.assert(
      fc.property(
        lists,
        fc.nat(0xffffffff),
        fc.constantFrom<4 | 6>(4, 6),
        (options, sequence, family) => {
          const packet = syn(options, { family, more: { sequence } });
          const before = optionsOf(packet);
          const sent = out(packet);
          expect(isSound(sent)).toBe(true);
          const wanted = slowClamp(before, MTU - (family === 4 ? 40 : 60));
          expect(optionsOf(sent)).toEqual(wanted);
          const { transport } = partsOf(packet);
          const others = (p: Uint8Array) =>
            Buffer.from(p)
              .fill(0, transport + 16, transport + 18)
              .subarray(0, transport + 20);
          expect(others(sent)).toEqual(others(oneHopLess(packet)));
        },
      ),
      { seed, numRuns: rounds(500, 5_000) },
    );
  });

  it("leaves an unfinished checksum unfinished", () => {
    const write = into(syn(mss(1460), { from: B, to: A, more: { partial: true } }));
    expect(isPartial(write.subarray(10))).toBe(true);
    const [packet] = takeApart(write);
    expect(optionsOf(packet!)).toEqual(MSS_4);
    expect(isSound(packet!)).toBe(true);
  });

  it("is not deceived by a finished checksum that looks unfinished", () => {
    // One sequence number in 65,536 makes the rest of the segment sum to nothing.
    let found = 0;
    for (let sequence = 0; sequence < 2 ** 17 && found < 2; sequence++) {
      const packet = syn(mss(1460), { more: { sequence } });
      if (!isPartial(packet)) continue;
      found++;
      const sent = out(packet);
      expect(optionsOf(sent)).toEqual(MSS_4);
      expect(isSound(sent)).toBe(true);
    }
    expect(found).toBeGreaterThan(0);
  });

  it("leaves alone what announces no size: no SYN, fragments, other protocols", () => {
    const [src, dst] = [hostOf(A), hostOf(B)];
    const plain = syn(mss(1460), { more: { flags: 0x10 } });
    const fragment = ipv4({
      src,
      dst,
      protocol: TCP,
      mf: true,
      payload: syn(mss(1460)).subarray(20),
    });
    const other = ipv4({ src, dst, protocol: 99, payload: syn(mss(1460)).subarray(20) });
    const [src6, dst6] = [hostOf(A, 6), hostOf(B, 6)];
    const fragment6 = ipv6({
      src: src6,
      dst: dst6,
      protocol: TCP,
      extensions: [fragmentHeader(0, true)],
      payload: syn(mss(1460), { family: 6 }).subarray(40),
    });
    for (const packet of [plain, fragment, other, fragment6]) {
      expect(out(packet)).toEqual(oneHopLess(packet));
    }
  });
});
