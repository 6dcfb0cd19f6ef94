/** Connections of a service whose backend is removed. */

import { describe, expect, it } from "vitest";
import { Dataplane } from "weft";
import { isSound, vxlan } from "../packets.js";
import { A, B, C } from "./node.js";
import { packetOf, reverse, type Tuple, tupleOf } from "./tuple.js";

const [SYN, RST, ACK] = [2, 4, 16];
const FAMILIES = [
  { family: 4, vip: "10.96.0.10", client: "10.244.1.5", backend: "10.244.2.7:80" },
  { family: 6, vip: "fd00:0:0:ff::10", client: "fd00:0:0:1::5", backend: "[fd00:0:0:2::7]:80" },
] as const;

const flagsOf = (packet: Uint8Array) => packet.at(packet[0]! >> 4 === 4 ? 33 : 53);
const sequenceOf = (packet: Uint8Array) =>
  Buffer.from(packet).readUInt32BE(packet[0]! >> 4 === 4 ? 24 : 44);

describe.each(FAMILIES)("IPv$family", ({ vip, client, backend }) => {
  const services = (backends: string[], protocol = "tcp") => ({
    services: [{ name: "web", protocol, address: vip, port: 80, backends }],
  });
  const asked: Tuple = { protocol: 6, src: client, sport: 4000, dst: vip, dport: 80 };

  async function node() {
    const dp = await Dataplane.create({
      ...A,
      vni: 1,
      mtu: 1450,
      address: "10.244.1.1",
      underlay: A.endpoint,
      throughCore: true,
    });
    dp.setPeers([B, C]);
    return dp;
  }

  /** A connection whose client acknowledged up to 5001, and whose backend up to 1001. */
  function shakeHands(dp: Dataplane): Tuple {
    const first = dp.fromDevice(packetOf(asked, { flags: SYN, sequence: 1000 }));
    const onward = tupleOf(first.datagrams[0]!.bytes.subarray(22));
    const answer = { flags: SYN | ACK, sequence: 5000, acknowledgment: 1001 };
    dp.fromWire(vxlan(packetOf(reverse(onward), answer)), B.endpoint);
    dp.fromDevice(packetOf(asked, { flags: ACK, sequence: 1001, acknowledgment: 5001 }));
    return onward;
  }

  it("of TCP end by a RST for both ends at once, with the numbers that they expect", async () => {
    const dp = await node();
    dp.setNat(services([backend]));
    const onward = shakeHands(dp);
    const { packets, datagrams } = dp.setNat(services([]));
    expect(packets.map(tupleOf)).toEqual([reverse(asked)]);
    expect([flagsOf(packets[0]!), sequenceOf(packets[0]!)]).toEqual([RST, 5001]);
    const inner = datagrams.map(({ bytes }) => bytes.subarray(22));
    expect(inner.map(tupleOf)).toEqual([onward]);
    expect([flagsOf(inner[0]!), sequenceOf(inner[0]!)]).toEqual([RST, 1001]);
    expect([...packets, ...inner].every(isSound)).toBe(true);
    expect(dp.flows()).toEqual([]);
    const { out } = dp.counters();
    expect(out.answeredBy["no-backend"]).toBe(2);
    expect(out.received).toBe(out.delivered + out.answered);
  });

  it("stay while their backend is drained, and where others are removed", async () => {
    const dp = await node();
    dp.setNat(services([backend]));
    shakeHands(dp);
    const drained = { services: [{ ...services([]).services[0]!, backends: [{ to: backend, drain: true }] }] }; // biome-ignore format: one line
    expect(dp.setNat(drained)).toEqual({ packets: [], datagrams: [] });
    expect(dp.flows()).toHaveLength(1);
    const segment = { flags: ACK, sequence: 1001, acknowledgment: 5001 };
    expect(dp.fromDevice(packetOf(asked, segment)).verdict).toBe("sent");
  });

  it("that are more than one pass holds all end", async () => {
    const dp = await node();
    dp.setNat(services([backend]));
    const count = 10_000;
    for (let i = 0; i < count; i++) {
      const one = { ...asked, sport: 10_000 + i };
      const first = dp.fromDevice(packetOf(one, { flags: SYN, sequence: 1000 }));
      const onward = tupleOf(first.datagrams[0]!.bytes.subarray(22));
      const answer = { flags: SYN | ACK, sequence: 5000, acknowledgment: 1001 };
      dp.fromWire(vxlan(packetOf(reverse(onward), answer)), B.endpoint);
      dp.fromDevice(packetOf(one, { flags: ACK, sequence: 1001, acknowledgment: 5001 }));
    }
    const { packets, datagrams } = dp.setNat(services([]));
    expect([packets.length, datagrams.length]).toEqual([count, count]);
    expect(dp.flows()).toEqual([]);
  });
});
