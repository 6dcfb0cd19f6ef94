/** What Kubernetes says of connections, not of packets: asked of the whole dataplane. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Dataplane } from "weft";
import { embedded } from "../core/embedded.js";
import { B } from "../core/host.js";
import { ipv4, TCP, tcp, vxlan } from "../packets.js";

const SYN = 0x02;
const SYN_ACK = 0x12;

let dp: Dataplane;
beforeEach(async () => {
  dp = await embedded();
});

interface Segment {
  readonly sport: number;
  readonly dport: number;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment?: number;
}

const segment = (src: string, dst: string, fields: Segment) =>
  ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, new Uint8Array(0), fields) });

const OURS = "10.244.1.7";
const THEIRS = "10.244.2.7";
const sends = (fields: Segment) => dp.fromDevice(segment(OURS, THEIRS, fields)).verdict;
const gets = (fields: Segment) =>
  dp.fromWire(vxlan(segment(THEIRS, OURS, fields)), B.endpoint).verdict;

const asks = { sport: 40_000, dport: 80, flags: SYN, sequence: 100 };
const answers = { sport: 80, dport: 40_000, flags: SYN_ACK, sequence: 900, acknowledgment: 101 };

describe("as Kubernetes NetworkPolicy", () => {
  it("replies of an allowed connection pass, though nothing may begin in that direction", () => {
    dp.setPolicy(`
      policies:
        - name: client
          applies: [${OURS}]
          ingress: []
          egress: [{ action: allow, protocol: tcp, ports: [80] }]
    `);
    expect(gets(answers)).toBe("answered");
    expect(sends(asks)).toBe("sent");
    expect(gets(answers)).toBe("delivered");
    expect(gets({ ...answers, dport: 40_001 })).toBe("answered");
  });

  it("a server that may open no connections replies to those it accepts", () => {
    dp.setPolicy(`
      policies:
        - name: server
          applies: [${OURS}]
          ingress: [{ action: allow, protocol: tcp, ports: [80] }]
          egress: []
    `);
    expect(sends(answers)).toBe("answered");
    expect(gets(asks)).toBe("delivered");
    expect(sends(answers)).toBe("sent");
    expect(sends(asks)).toBe("answered");
  });
});
