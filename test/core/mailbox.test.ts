/** What the mesh sends beside the packets: handed up as it came, and no packet. */
import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane } from "weft";
import { Core } from "../../src/core/instance.js";
import { takeControl } from "../../src/core/mailbox.js";
import { CONTROL_MAGIC, MAX_CONTROL_BYTES } from "../../src/paths/datapath.js";
import { ipv4, vxlan } from "../packets.js";
import { A, B, C, Host, hostOf } from "./host.js";

/** `length` bytes that begin as a control datagram does, the rest all `fill`. */
function controlDatagram(length: number, fill = 0): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill);
  bytes.set(Buffer.from(CONTROL_MAGIC));
  return bytes;
}
const packet = vxlan(
  ipv4({ src: hostOf(B), dst: hostOf(A), protocol: 99, payload: new Uint8Array(28) }),
);

let host: Host;
beforeEach(async () => {
  host = await Host.create();
});
const isEverything = (...wanted: [string, Uint8Array][]) =>
  expect(takeControl(host.core)).toEqual(
    wanted.map(([from, bytes]) => ({ from, bytes, length: bytes.length, at: 0 })),
  );

describe("a datagram that begins with weft", () => {
  it("is handed up with the address it came from, whoever sent it, and goes through no stage", () => {
    const from = ["198.51.100.1:4", B.endpoint, "[2001:db8::99]:65535", C.endpoint];
    const { verdicts, sent, written } = host.receive(
      from.map((endpoint, i) => ({ from: endpoint, bytes: controlDatagram(100, i) })),
    );
    expect([verdicts, sent, written]).toEqual([[], [], []]);
    const taken = takeControl(host.core).map((one) => [one.from, one.bytes[99]]);
    expect([...taken].sort()).toEqual(from.map((endpoint, i) => [endpoint, i]).sort());
    expect(
      taken
        .slice(0, 2)
        .map(([endpoint]) => endpoint)
        .sort(),
    ).toEqual([B.endpoint, C.endpoint].sort());
    expect(host.counters().in).toEqual({
      received: 0,
      delivered: 0,
      answered: 0,
      answeredBy: {},
      dropped: {},
      relayed: 0,
      control: 4,
      controlDropped: 0,
      controlDroppedUnknown: 0,
    });
  });

  it("has at least 8 bytes; a shorter one is a packet, and no sound one", () => {
    for (const length of [8, 512]) {
      expect(host.receive([{ from: B.endpoint, bytes: controlDatagram(length) }]).verdicts).toEqual(
        [],
      );
    }
    isEverything([B.endpoint, controlDatagram(8)], [B.endpoint, controlDatagram(512)]);
    expect(host.receive([{ from: B.endpoint, bytes: controlDatagram(7) }]).verdicts).toEqual([
      "truncated",
    ]);
    isEverything();
  });

  it("is handed up with its length and its first 512 bytes where it is longer, and nothing beside it changes", () => {
    expect(host.layout.MAX_CONTROL).toBe(MAX_CONTROL_BYTES);
    const lengths = [513, 1450, 9000, 65_507, 8];
    host.receive(
      lengths.map((length, i) => ({ from: B.endpoint, bytes: controlDatagram(length, i) })),
    );
    expect(takeControl(host.core)).toEqual(
      lengths.map((length, i) => ({
        from: B.endpoint,
        bytes: controlDatagram(length, i).subarray(0, 512),
        length,
        at: 0,
      })),
    );
  });

  it("is handed up with the time at which it came in", () => {
    for (const at of [5.25, 7_000.5]) {
      host.core.setClock(at);
      host.receive([{ from: B.endpoint, bytes: controlDatagram(8) }]);
    }
    host.core.setClock(9_000);
    expect(takeControl(host.core).map(({ at }) => at)).toEqual([5.25, 7_000.5]);
  });

  it("is found in a GSO batch that the kernel made, among packets too", () => {
    const size = packet.length;
    const parts = [
      controlDatagram(size, 1),
      packet,
      controlDatagram(size, 2),
      controlDatagram(size, 3),
      packet,
      controlDatagram(9, 4),
    ];
    const bytes = new Uint8Array(Buffer.concat(parts));
    const { verdicts } = host.receive([{ from: B.endpoint, bytes, size }]);
    expect(verdicts).toEqual(["delivered", "delivered"]);
    isEverything(
      [B.endpoint, controlDatagram(size, 1)],
      [B.endpoint, controlDatagram(size, 2)],
      [B.endpoint, controlDatagram(size, 3)],
      [B.endpoint, controlDatagram(9, 4)],
    );
  });

  it("is lost and counted when the others were not taken", () => {
    const places = host.layout.MAILBOX_PLACES;
    const many = Array.from({ length: 40 }, (_, i) => controlDatagram(16, i));
    const receive = () =>
      host.receive(many.map((bytes) => ({ from: B.endpoint, bytes }))).verdicts.length;
    expect([receive(), receive()]).toEqual([0, 0]);
    expect(host.counters().in).toMatchObject({ control: places, controlDropped: 80 - places });
    const kept = [...many, ...many].slice(0, places);
    isEverything(...kept.map((bytes): [string, Uint8Array] => [B.endpoint, bytes]));
    receive();
    isEverything(...many.map((bytes): [string, Uint8Array] => [B.endpoint, bytes]));
  });

  it("is kept in order for ever: the numbers of the ring may begin again", () => {
    const { words } = host.core;
    const { MAILBOX, MAILBOX_RINGS, MAILBOX_RING_SIZE, MAILBOX_RING_TAKEN } = host.layout;
    const rings = Array.from({ length: MAILBOX_RINGS }, (_, i) => MAILBOX + i * MAILBOX_RING_SIZE);
    const totals = [host.layout.MAILBOX_PUT, host.layout.MAILBOX_TAKEN];
    for (const at of [...totals, ...rings, ...rings.map((ring) => ring + MAILBOX_RING_TAKEN)]) {
      Atomics.store(words, at >> 2, -20);
    }
    const many = Array.from({ length: 50 }, (_, i) => controlDatagram(16, i));
    host.receive(many.map((bytes) => ({ from: B.endpoint, bytes })));
    isEverything(...many.map((bytes): [string, Uint8Array] => [B.endpoint, bytes]));
    expect(host.counters().in.controlDropped).toBe(0);
  });
});

describe("junk that begins with weft", () => {
  const junk = (from: string, count: number) =>
    Array.from({ length: count }, () => ({ from, bytes: controlDatagram(16, 0xff) }));
  /** Datagrams that were taken, by who sent them. */
  const takenFrom = () => {
    const counts = new Map<string, number>();
    for (const { from } of takeControl(host.core)) counts.set(from, (counts.get(from) ?? 0) + 1);
    return counts;
  };

  it("of any number of strangers takes no place from a peer, 80,000 a second for a second", () => {
    let taken = 0;
    for (let ms = 0; ms < 1000; ms++) {
      // The host looks every tenth millisecond; a peer sends one datagram every fifth.
      for (let i = 0; i < 2; i++)
        host.receive(junk(`198.51.100.${(ms + i) % 250}:${1024 + ms}`, 40));
      if (ms % 5 === 0) host.receive([{ from: B.endpoint, bytes: controlDatagram(100) }]);
      if (ms % 10 === 9) taken += takenFrom().get(B.endpoint) ?? 0;
    }
    expect(taken).toBe(200);
    const { control, controlDropped, controlDroppedUnknown } = host.counters().in;
    expect(controlDropped).toBe(0);
    expect(control + controlDroppedUnknown).toBe(80_200);
    expect(controlDroppedUnknown).toBeGreaterThan(40_000);
  });

  it("of one stranger leaves room for others, which may be joining", () => {
    const flood = () => {
      for (let i = 0; i < 2; i++) host.receive(junk("203.0.113.66:1", 40));
    };
    const others = Array.from({ length: 100 }, (_, i) => `198.51.100.${i}:4789`);
    const heard = others.filter((from) => {
      flood();
      host.receive([{ from, bytes: controlDatagram(8) }]);
      return takenFrom().has(from);
    });
    // One in four shares its ring.
    expect(heard.length).toBeGreaterThan(50);
  });

  it("of one IPv6 /64, whatever addresses it takes there, fills one ring", () => {
    const places = host.layout.MAILBOX_PLACES;
    for (let i = 0; i < 500; i++) host.receive(junk(`[2001:db8::${i.toString(16)}:1]:4789`, 1));
    expect(host.counters().in.control).toBe(places);
    for (let i = 0; i < 500; i++) host.receive(junk(`[2001:db8:0:${i.toString(16)}::1]:4789`, 1));
    expect(host.counters().in.control).toBe(4 * places);
  });

  it("of a peer, or in its name, leaves room for the others", () => {
    const others = Array.from({ length: 200 }, (_, i) => ({
      ...C,
      name: `p${i}`,
      endpoint: `192.0.2.${i + 3}:4789`,
      mac: `02:00:00:00:01:${i.toString(16).padStart(2, "0")}`,
      leases: [`10.245.${i}.0/24`],
    }));
    host.setPeers([B, ...others]);
    for (let i = 0; i < 50; i++) host.receive(junk(B.endpoint, 40));
    host.receive(
      others.slice(0, 60).map(({ endpoint }) => ({ from: endpoint, bytes: controlDatagram(8) })),
    );
    const counts = takenFrom();
    expect(counts.get(B.endpoint)).toBe(host.layout.MAILBOX_PLACES);
    // One in 32 shares its ring.
    expect(counts.size).toBeGreaterThan(50);
  });

  it("fills other rings under another key", async () => {
    const others = Array.from({ length: 60 }, (_, i) => `192.0.2.${i + 3}:4789`);
    const peers = others.map((endpoint, i) => ({
      ...C,
      name: `p${i}`,
      endpoint,
      mac: `02:00:00:00:01:${i.toString(16).padStart(2, "0")}`,
      leases: [`10.245.${i}.0/24`],
    }));
    const shut = async (seed: bigint) => {
      host = await Host.create({ core: await Core.create({ seed }), peers: [B, ...peers] });
      for (let i = 0; i < 2; i++) host.receive(junk(B.endpoint, 40));
      host.receive(others.map((from) => ({ from, bytes: controlDatagram(8) })));
      const counts = takenFrom();
      return others.filter((from) => !counts.has(from)).join();
    };
    const keys = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n];
    const seen = new Set<string>();
    for (const key of keys) seen.add(await shut(key));
    expect(seen.size).toBeGreaterThan(4);
  });
});

it("an embedder gets each datagram of the mesh, however many there are", async () => {
  const dataplane = await Dataplane.create({
    vni: 1,
    mac: A.mac,
    mtu: 1450,
    address: hostOf(A),
    leases: A.leases,
    underlay: A.endpoint,
  });
  for (let i = 0; i < 200; i++) {
    expect(dataplane.fromWire(controlDatagram(100), B.endpoint)).toEqual({
      verdict: "control",
      datagrams: [],
      packets: [],
    });
  }
  expect(dataplane.counters().in).toMatchObject({ received: 0, control: 200, controlDropped: 0 });
});
