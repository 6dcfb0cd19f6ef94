/** A policy document in the dataplane that embedders use. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Dataplane } from "weft";
import { ipv4, TCP, tcp, UDP, udp, vxlan } from "../packets.js";
import { embedded } from "./embedded.js";
import { B, C } from "./host.js";

const WEB = `
groups:
  clients: [10.244.2.0/24, "node:c"]
policies:
  - name: web
    order: 100
    applies: [10.244.1.80/32]
    ingress:
      - { action: log, from: [10.244.2.66/32] }
      - { action: allow, protocol: tcp, from: ["group:clients"], notFrom: [10.244.2.9/32], ports: [80, 8000-8100] }
  - name: nothing-but-dns
    order: 200
    applies: [10.244.1.0/24]
    egress:
      - { action: allow, protocol: udp, ports: [53] }
`;
const SERVER = "10.244.1.80";

let dp: Dataplane;
beforeEach(async () => {
  dp = await embedded();
});

const SYN = 2;
const syn = (src: string, dport: number) =>
  ipv4({
    src,
    dst: SERVER,
    protocol: TCP,
    payload: tcp(src, SERVER, new Uint8Array(0), { dport, flags: SYN }),
  });
const from = (src: string, dport: number) => {
  const endpoint = src.startsWith("10.244.2.") ? B.endpoint : C.endpoint;
  return dp.fromWire(vxlan(syn(src, dport)), endpoint);
};
const datagram = (dst: string, dport: number) => {
  const src = "10.244.1.7";
  return dp.fromDevice(
    ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(4), { dport }) }),
  );
};
const metBy = (policy: string, index: number) =>
  dp.counters().rules.find((rule) => rule.policy === policy && rule.index === index)?.packets;

describe("a policy document", () => {
  it("applies to packets in and out", () => {
    expect(from("10.244.2.1", 22).verdict).toBe("delivered");
    dp.setPolicy(WEB);
    expect(from("10.244.2.1", 22)).toMatchObject({ verdict: "answered", reason: "denied-ingress" });
    expect(from("10.244.2.1", 80).verdict).toBe("delivered");
    expect(from("10.244.3.1", 8050).verdict).toBe("delivered");
    expect(from("10.244.2.9", 80).reason).toBe("denied-ingress");
    expect(datagram("10.244.2.1", 53).verdict).toBe("sent");
    expect(datagram("10.244.2.1", 54)).toMatchObject({
      verdict: "answered",
      reason: "denied-egress",
    });
  });

  it("says of each connection which of its rules allowed it, as the counters name it", () => {
    from("10.244.2.1", 22);
    expect(dp.flows()).toMatchObject([{ verdict: "open" }]);
    expect(dp.flows()[0]).not.toHaveProperty("rule");
    dp.setPolicy(WEB);
    from("10.244.2.1", 80);
    datagram("10.244.2.1", 53);
    const ruleOf = (dport: number) => dp.flows().find((flow) => flow.dport === dport)!.rule;
    const { packets, bytes, ...place } = dp
      .counters()
      .rules.find((rule) => rule.policy === "web" && rule.index === 1)!;
    expect(place).toMatchObject({ tier: "default", direction: "ingress", line: 10 });
    expect(ruleOf(80)).toEqual(place);
    expect(ruleOf(53)).toMatchObject({ policy: "nothing-but-dns", direction: "egress", index: 0 });
    // A rule that is gone allowed it: its number may be another's by now.
    for (const port of [90, 91, 92])
      dp.setPolicy(WEB.replace("80,", `${port}, 80, `).replace("[53]", `[${port}]`));
    expect(dp.flows().find((flow) => flow.dport === 53)).toMatchObject({ verdict: "allowed" });
    expect(ruleOf(53)).toBeUndefined();
  });

  it("counts nothing that a stranger sent in a connection of others", () => {
    dp.setPolicy(WEB);
    from("10.244.2.1", 80);
    const before = dp.counters().rules;
    expect(dp.fromWire(vxlan(syn("10.244.2.1", 80)), C.endpoint).reason).toBe("spoofed-source");
    expect(dp.counters().rules).toEqual(before);
    from("10.244.2.1", 80);
    expect(dp.counters().rules).not.toEqual(before);
  });

  it("counts what each of its rules met, and says where the rule stands", () => {
    dp.setPolicy(WEB);
    from("10.244.2.66", 80);
    from("10.244.2.66", 22);
    from("10.244.2.1", 81);
    expect(dp.counters().rules).toEqual([
      expect.objectContaining({
        tier: "default",
        policy: "nothing-but-dns",
        direction: "egress",
        index: 0,
        line: 15,
        packets: 0,
      }),
      expect.objectContaining({ kind: "tier default", direction: "egress", packets: 0 }),
      expect.objectContaining({ policy: "web", action: "log", index: 0, line: 9, packets: 2 }),
      expect.objectContaining({ policy: "web", action: "allow", index: 1, line: 10, packets: 1 }),
      expect.objectContaining({ kind: "tier default", direction: "ingress", packets: 2 }),
    ]);
    expect(metBy("web", 1)).toBe(1);
  });

  it("follows the nodes that it names: they come, and they go", () => {
    dp.setPolicy(WEB);
    expect(from("10.244.3.1", 80).verdict).toBe("delivered");
    dp.setPeers([B, { ...C, leases: ["10.244.4.0/24"] }]);
    dp.setPeers([B, { ...C, name: "d" }]);
    expect(from("10.244.3.2", 80).reason).toBe("denied-ingress");
    dp.setPeers([B, C]);
    expect(from("10.244.3.3", 80).verdict).toBe("delivered");
    expect(metBy("web", 1)).toBe(2);
  });

  it("that cannot be is refused whole, with its line; what was in force stays in force", () => {
    dp.setPolicy(WEB);
    expect(() => dp.setPolicy(WEB.replace("ports: [53]", "ports: [70000]"))).toThrow(/policy:15/);
    expect(() => dp.setPolicy({ policies: [{ name: "x", appies: [] }] })).toThrow(/appies/);
    expect(from("10.244.2.1", 22).reason).toBe("denied-ingress");
    expect(from("10.244.2.1", 80).verdict).toBe("delivered");
  });

  it("may be an object as well, and one without policies lets everything pass", () => {
    dp.setPolicy({ policies: [{ name: "none", applies: [`${SERVER}/32`], ingress: [] }] });
    expect(from("10.244.2.1", 80).reason).toBe("denied-ingress");
    dp.setPolicy({ policies: [] });
    expect(from("10.244.2.1", 80).verdict).toBe("delivered");
    expect(dp.counters().rules).toEqual([]);
  });
});
