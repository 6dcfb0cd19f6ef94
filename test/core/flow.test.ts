/** What is remembered of a connection must never be wrong, only missing. */
import { beforeEach, describe, expect, it } from "vitest";
import { Core } from "../../src/core/instance.js";
import { ipv4, ipv6, random, seedOfRun, UDP, udp, vxlan } from "../packets.js";
import { A, B, C, Host, hostOf, read } from "./host.js";

const seed = seedOfRun("flow");
const PEERS = [B, C];

let host: Host;
beforeEach(async () => {
  host = await Host.create({ own: A, peers: PEERS, gso: false, coalesce: false });
});

function packet(src: string, dst: string, sport = 1000): Uint8Array {
  const payload = udp(src, dst, new Uint8Array(8), { sport });
  return src.includes(":")
    ? ipv6({ src, dst, protocol: UDP, payload })
    : ipv4({ src, dst, protocol: UDP, payload });
}

describe.each([4, 6] as const)("a flow of IPv%i", (family) => {
  const out = packet(hostOf(A, family), hostOf(B, family));
  const back = packet(hostOf(B, family), hostOf(A, family));
  const sent = () => host.send([read(out)]).sent;
  const received = (from = B.endpoint) =>
    host.receive([{ from, bytes: vxlan(back) }]).written.length;

  it("goes on as it began", () => {
    const first = sent();
    expect(first).toHaveLength(1);
    expect(sent()).toEqual(first);
    expect([received(), received()]).toEqual([1, 1]);
  });

  it("follows its peer to another endpoint and another MAC address", () => {
    sent();
    received();
    const moved = { ...B, endpoint: "192.0.2.77:4789", mac: "02:00:00:00:00:77" };
    host.setPeers([moved, C]);
    const [message] = sent();
    expect(message!.to).toBe(moved.endpoint);
    expect(Buffer.from(message!.bytes.subarray(8, 14)).toString("hex")).toBe("020000000077");
    expect([received(B.endpoint), received(moved.endpoint)]).toEqual([0, 1]);
  });

  it("ends with its peer", () => {
    sent();
    received();
    host.setPeers([C]);
    expect(sent()).toEqual([]);
    expect(received()).toBe(0);
    expect(host.counters().in.dropped).toEqual({ "unknown-peer": 1 });
  });

  it("is not taken from anybody else", () => {
    received();
    expect(received(C.endpoint)).toBe(0);
    expect(received("203.0.113.9:4789")).toBe(0);
    expect(host.counters().in.dropped).toEqual({ "spoofed-source": 1, "unknown-peer": 1 });
  });
});

it("is never mistaken for another, in a table that is far too small for all of them", async () => {
  const core = await Core.create({ flows: 1024 });
  host = await Host.create({ own: A, peers: PEERS, gso: false, coalesce: false, core });
  const rnd = random(seed);
  const packets = 200_000;
  const templates = PEERS.flatMap((peer) =>
    ([4, 6] as const).map((family) => ({
      peer,
      family,
      bytes: read(packet(hostOf(A, family), hostOf(peer, family))),
    })),
  );
  for (let done = 0; done < packets; done += host.layout.BATCH) {
    const batch = Array.from({ length: host.layout.BATCH }, () => {
      const { peer, family, bytes } = templates[Math.floor(rnd() * templates.length)]!;
      const one = Uint8Array.from(bytes);
      const transport = 10 + (family === 4 ? 20 : 40);
      // One of 64 hosts of the lease and 512 ports: 64 times as many flows as places, each met again.
      const lastOctet = 10 + (family === 4 ? 19 : 39);
      const host = Math.floor(rnd() * 64);
      if (family === 4) {
        // Keep the header checksum right: what the destination gains the identification loses.
        const view = new DataView(one.buffer);
        view.setUint16(14, view.getUint16(14) + one[lastOctet]! - host);
      }
      one[lastOctet] = host;
      one[transport] = Math.floor(rnd() * 2);
      one[transport + 1] = Math.floor(rnd() * 256);
      return { peer, family, bytes: one };
    });
    const { sent } = host.send(batch.map(({ bytes }) => bytes));
    // Where it goes, and what the inner Ethernet header says: whose MAC address, which family.
    const went = sent.map(({ to, bytes }) => {
      const frame = Buffer.from(bytes.subarray(8, 22));
      return [to, frame.toString("hex", 0, 6), frame.readUInt16BE(12)].join();
    });
    const wanted = batch.map(({ peer, family }) =>
      [peer.endpoint, peer.mac.replaceAll(":", ""), family === 4 ? 0x0800 : 0x86dd].join(),
    );
    if (went.join() !== wanted.join()) expect(went).toEqual(wanted);
  }
});
