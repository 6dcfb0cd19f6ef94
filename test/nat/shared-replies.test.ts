import { expect, it } from "vitest";
import { Dataplane } from "weft";
import { vxlan } from "../packets.js";
import { A, B } from "./node.js";
import { packetOf, type Tuple } from "./tuple.js";

const GRE = 47;

it.each([17, GRE])(
  "a packet from the device in a peer's name takes no replies from that peer's: %i",
  async (protocol) => {
    const options = { vni: 1, mtu: 1450, address: "10.244.1.1", underlay: A.endpoint };
    const dp = await Dataplane.create({ ...A, ...options, throughCore: true });
    dp.setPeers([B]);
    const ends = { src: "10.244.2.1", sport: 0, dst: "10.244.1.5", dport: 0 };
    const tuple: Tuple = { protocol, ...ends, ...(protocol === 17 && { sport: 700, dport: 53 }) };
    expect(dp.fromDevice(packetOf(tuple)).verdict).toBe("delivered");
    const second = dp.fromWire(vxlan(packetOf(tuple)), B.endpoint);
    // Without ports nothing tells the replies apart; with ports the source gets another one.
    expect(second.verdict).toBe(protocol === 17 ? "delivered" : "answered");
    dp.restore(dp.snapshot());
    expect(dp.flows()).toHaveLength(protocol === 17 ? 2 : 1);
  },
);
