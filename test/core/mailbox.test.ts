/** What the mesh sends beside the packets: handed up as it came, and no packet. */
import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane } from "weft";
import { takeMail } from "../../src/core/mailbox.js";
import { MAGIC, MAX_CONTROL_BYTES } from "../../src/mesh/datapath.js";
import { ipv4, vxlan } from "../packets.js";
import { A, B, C, Host, hostOf } from "./host.js";

/** `length` bytes that begin as mail does, the rest all `fill`. */
function mail(length: number, fill = 0): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill);
  bytes.set(Buffer.from(MAGIC));
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
  expect(takeMail(host.core)).toEqual(
    wanted.map(([from, bytes]) => ({ from, bytes, length: bytes.length })),
  );

describe("a datagram that begins with weft", () => {
  it("is handed up with the address it came from, whoever sent it, and goes through no stage", () => {
    const from = ["198.51.100.1:4", B.endpoint, "[2001:db8::99]:65535", C.endpoint];
    const { verdicts, sent, written } = host.receive(
      from.map((endpoint, i) => ({ from: endpoint, bytes: mail(100, i) })),
    );
    expect([verdicts, sent, written]).toEqual([[], [], []]);
    isEverything(...from.map((endpoint, i): [string, Uint8Array] => [endpoint, mail(100, i)]));
    expect(host.counters().in).toEqual({
      received: 0,
      delivered: 0,
      answered: 0,
      dropped: {},
      relayed: 0,
      control: 4,
      controlDropped: 0,
    });
  });

  it("has at least 8 bytes; a shorter one is a packet, and no sound one", () => {
    for (const length of [8, 512]) {
      expect(host.receive([{ from: B.endpoint, bytes: mail(length) }]).verdicts).toEqual([]);
    }
    isEverything([B.endpoint, mail(8)], [B.endpoint, mail(512)]);
    expect(host.receive([{ from: B.endpoint, bytes: mail(7) }]).verdicts).toEqual(["truncated"]);
    isEverything();
  });

  it("is handed up with its length and its first 512 bytes where it is longer, and nothing beside it changes", () => {
    expect(host.layout.MAX_CONTROL).toBe(MAX_CONTROL_BYTES);
    const lengths = [513, 1450, 9000, 65_507, 8];
    host.receive(lengths.map((length, i) => ({ from: B.endpoint, bytes: mail(length, i) })));
    expect(takeMail(host.core)).toEqual(
      lengths.map((length, i) => ({
        from: B.endpoint,
        bytes: mail(length, i).subarray(0, 512),
        length,
      })),
    );
  });

  it("is found in a train that the kernel made, among packets too", () => {
    const size = packet.length;
    const parts = [mail(size, 1), packet, mail(size, 2), mail(size, 3), packet, mail(9, 4)];
    const bytes = new Uint8Array(Buffer.concat(parts));
    const { verdicts } = host.receive([{ from: B.endpoint, bytes, size }]);
    expect(verdicts).toEqual(["delivered", "delivered"]);
    isEverything(
      [B.endpoint, mail(size, 1)],
      [B.endpoint, mail(size, 2)],
      [B.endpoint, mail(size, 3)],
      [B.endpoint, mail(9, 4)],
    );
  });

  it("is lost when nobody took the others, and counted", () => {
    const places = host.layout.MAILBOX_PLACES;
    const many = Array.from({ length: 40 }, (_, i) => mail(16, i));
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
    for (const word of [host.layout.MAILBOX_PUT, host.layout.MAILBOX_TAKEN]) {
      Atomics.store(words, word >> 2, -20);
    }
    const many = Array.from({ length: 50 }, (_, i) => mail(16, i));
    host.receive(many.map((bytes) => ({ from: B.endpoint, bytes })));
    isEverything(...many.map((bytes): [string, Uint8Array] => [B.endpoint, bytes]));
    expect(host.counters().in.controlDropped).toBe(0);
  });
});

it("an embedder is told that a datagram is the mesh's, however many there are", async () => {
  const dataplane = await Dataplane.create({
    vni: 1,
    mac: A.mac,
    mtu: 1450,
    address: hostOf(A),
    leases: A.leases,
    underlay: A.endpoint,
  });
  for (let i = 0; i < 200; i++) {
    expect(dataplane.fromWire(mail(100), B.endpoint)).toEqual({
      verdict: "control",
      datagrams: [],
      packets: [],
    });
  }
  expect(dataplane.counters().in).toMatchObject({ received: 0, control: 200, controlDropped: 0 });
});
