/** Capture files of every form, and what no capture tool writes. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { WeftError } from "weft";
import { framesIn, MAX_FRAME } from "../../src/explain/pcap.js";
import { readPcap } from "../golden/pcap.js";
import { echo, echo6, ICMP, ICMPV6, ipv4, ipv6, random, seedOfRun } from "../packets.js";

const [A, B] = ["10.244.1.5", "10.244.2.80"];
const [A6, B6] = ["fd00:0:0:1::5", "fd00:0:0:2::80"];
const V4 = ipv4({ src: A, dst: B, protocol: ICMP, payload: echo(new Uint8Array(8)) });
const V6 = ipv6({
  src: A6,
  dst: B6,
  protocol: ICMPV6,
  payload: echo6(A6, B6, new Uint8Array(8)),
});
const ARP = Uint8Array.from({ length: 28 }, (_, i) => i);

const TYPES = new Map([
  [V4, [0x08, 0x00]],
  [V6, [0x86, 0xdd]],
  [ARP, [0x08, 0x06]],
]);
const zeros = (count: number): number[] => Array(count).fill(0);

/** What each link type has before the packet. */
const LINKS: { readonly [name: string]: [linkType: number, before: (type: number[]) => number[]] } =
  {
    raw: [101, () => []],
    "raw, as in OpenBSD": [14, () => []],
    IPv4: [228, () => []],
    null: [0, () => [2, 0, 0, 0]],
    loop: [108, () => [0, 0, 0, 2]],
    Ethernet: [1, (type) => [...zeros(12), ...type]],
    "Ethernet with a VLAN tag": [1, (type) => [...zeros(12), 0x81, 0, 0, 5, ...type]],
    "Ethernet with two": [1, (type) => [...zeros(12), 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, ...type]],
    cooked: [113, (type) => [...zeros(14), ...type]],
    "cooked, version 2": [276, (type) => [...type, ...zeros(18)]],
  };

interface Form {
  readonly isLittle: boolean;
  readonly linkType: number;
  /** As many bytes of a frame are kept. */
  readonly kept?: number;
}
type Write = (form: Form, frames: readonly Uint8Array[]) => Uint8Array;

const words = (isLittle: boolean, ...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    if (isLittle) bytes.writeUInt32LE(value, 4 * i);
    else bytes.writeUInt32BE(value, 4 * i);
  });
  return bytes;
};
/** Two numbers of 16 bits, in the word that has them in this order. */
const halves = (isLittle: boolean, first: number, second: number): number =>
  isLittle ? first + second * 65_536 : first * 65_536 + second;

const pcap =
  (magic: number): Write =>
  ({ isLittle, linkType, kept = MAX_FRAME }, frames) =>
    Buffer.concat([
      words(isLittle, magic, halves(isLittle, 2, 4), 0, 0, kept, linkType),
      ...frames.flatMap((frame) => {
        const part = frame.subarray(0, kept);
        return [words(isLittle, 7, 8, part.length, frame.length), part];
      }),
    ]);

const block = (isLittle: boolean, type: number, ...body: Uint8Array[]): Buffer => {
  const length = body.reduce((sum, part) => sum + part.length, 0);
  const size = 12 + Math.ceil(length / 4) * 4;
  const filling = Buffer.alloc(size - 12 - length);
  return Buffer.concat([words(isLittle, type, size), ...body, filling, words(isLittle, size)]);
};

const sectionStart = ({ isLittle, linkType, kept = 0 }: Form): Buffer =>
  Buffer.concat([
    block(
      isLittle,
      0x0a0d0d0a,
      words(isLittle, 0x1a2b3c4d, halves(isLittle, 1, 0), 0xffffffff, 0xffffffff),
    ),
    block(isLittle, 0x0bad, words(isLittle, 1, 2, 3)),
    block(isLittle, 1, words(isLittle, halves(isLittle, linkType, 0), kept)),
  ]);

const pcapng =
  (type: 2 | 3 | 6): Write =>
  (form, frames) => {
    const { isLittle, kept = MAX_FRAME } = form;
    const blocks = frames.map((frame) => {
      const part = frame.subarray(0, kept);
      const head =
        type === 3
          ? words(isLittle, frame.length)
          : words(isLittle, 0, 7, 8, part.length, frame.length);
      return block(isLittle, type, head, part);
    });
    return Buffer.concat([sectionStart(form), ...blocks]);
  };

const FORMATS: { readonly [name: string]: Write } = {
  pcap: pcap(0xa1b2c3d4),
  "pcap of nanoseconds": pcap(0xa1b23c4d),
  pcapng: pcapng(6),
  "pcapng of simple blocks": pcapng(3),
  "pcapng of old blocks": pcapng(2),
};
const ORDERS = [true, false] as const;

const all = (file: Uint8Array, count = 1_000) => [...framesIn(file, count)];
const packets = (file: Uint8Array) => all(file).map(({ packet }) => packet && Buffer.from(packet));
const flawOf = (file: Uint8Array): WeftError => {
  try {
    all(file);
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
  throw new Error("it was read");
};

describe.each(Object.entries(FORMATS))("%s", (_, write) => {
  it.each(Object.entries(LINKS))("of %s, in both byte orders", (_, [linkType, header]) => {
    const frame = (packet: Uint8Array) =>
      Uint8Array.from([...header(TYPES.get(packet)!), ...packet]);
    for (const isLittle of ORDERS) {
      const file = write({ isLittle, linkType }, [frame(V4), frame(V6), frame(V4)]);
      expect(packets(file)).toEqual([V4, V6, V4].map((packet) => Buffer.from(packet)));
    }
  });

  it("counts frames that hold no IP packet, and takes away what fills up a short frame", () => {
    const [linkType, header] = LINKS.Ethernet!;
    const frames = [ARP, V4, V4].map((packet) =>
      Uint8Array.from([...header(TYPES.get(packet)!), ...packet, ...zeros(10)]),
    );
    const file = write({ isLittle: true, linkType }, frames);
    expect(all(file, 2)).toEqual([{ number: 1 }, { number: 2, packet: V4 }]);
  });

  it("has zeros for what was not captured", () => {
    const file = write({ isLittle: true, linkType: 101, kept: 24 }, [V4]);
    expect(packets(file)).toEqual([Buffer.from([...V4.slice(0, 24), ...zeros(V4.length - 24)])]);
  });

  it("that is torn anywhere gives the frames before, and says so", () => {
    const whole = write({ isLittle: false, linkType: 101 }, [V4, V6, V4]);
    let torn = 0;
    for (let length = 0; length < whole.length; length++) {
      const frames = [];
      try {
        for (const frame of framesIn(whole.subarray(0, length), 9)) frames.push(frame);
      } catch (error) {
        torn++;
        expect((error as WeftError).code).toBe("PCAP");
        const { length } = frames;
        const where = length > 0 ? ` after frame ${length}` : "";
        expect((error as WeftError).message).toContain(`cannot be read${where}: `);
      }
      expect(frames).toEqual(all(whole).slice(0, frames.length));
    }
    expect(torn).toBeGreaterThan(whole.length / 2);
  });

  it("with any bytes made wrong is read, or refused with a reason", () => {
    const rnd = random(seedOfRun("pcap"));
    const below = (n: number) => Math.floor(rnd() * n);
    const form = { isLittle: below(2) === 1, linkType: 1 };
    const whole = write(
      form,
      [V4, V6].map((packet) => Uint8Array.from([...zeros(14), ...packet])),
    );
    let refused = 0;
    for (let n = 0; n < 5_000; n++) {
      const file = Uint8Array.from(whole);
      for (let wrong = 1 + below(4); wrong > 0; wrong--) {
        file[below(file.length)] = below(3) > 0 ? below(256) : 255 * below(2);
      }
      try {
        for (const { packet } of all(file)) {
          if (packet) expect(packet.length).toBeLessThanOrEqual(MAX_FRAME);
        }
      } catch (error) {
        expect((error as WeftError).code).toBe("PCAP");
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
  });
});

it("a pcapng file may have sections of both byte orders, and interfaces of two kinds", () => {
  const ethernet = Uint8Array.from([...LINKS.Ethernet![1](TYPES.get(V6)!), ...V6]);
  const file = Buffer.concat([
    FORMATS.pcapng!({ isLittle: true, linkType: 101 }, [V4]),
    sectionStart({ isLittle: false, linkType: 101 }),
    block(false, 1, words(false, halves(false, 1, 0), 0)),
    block(false, 6, words(false, 1, 0, 0, ethernet.length, ethernet.length), ethernet),
  ]);
  expect(packets(file)).toEqual([Buffer.from(V4), Buffer.from(V6)]);
});

it.each([
  ["text", Buffer.from("what is this?"), /it is no pcap and no pcapng file/],
  ["another link type", FORMATS.pcap!({ isLittle: true, linkType: 105 }, [V4]), /link type 105/],
  [
    "a frame longer than any",
    Buffer.concat([
      FORMATS.pcap!({ isLittle: true, linkType: 101 }, []),
      words(true, 0, 0, MAX_FRAME + 1, MAX_FRAME + 1),
      Buffer.alloc(MAX_FRAME + 1),
    ]),
    /a frame is 262145 bytes long/,
  ],
  [
    "a frame of no interface",
    Buffer.concat([
      sectionStart({ isLittle: true, linkType: 101 }).subarray(0, 28),
      block(true, 6, words(true, 0, 0, 0, V4.length, V4.length), V4),
    ]),
    /interface 0 is not described/,
  ],
])("%s is refused", (_, file, why) => {
  expect(flawOf(file).message).toMatch(why);
});

it("reads what the golden cases are, as their own reader does", () => {
  const file = readFileSync(new URL("../golden/state-handshake/device-in.pcap", import.meta.url));
  expect(packets(file)).toEqual(readPcap(file).map((packet) => Buffer.from(packet)));
  expect(all(file)).toHaveLength(3);
});
