/**
 * How many ICMP errors go out: so many to one source, so many because of one peer, so
 * many in all, and path MTU errors beside all others.
 */
import { beforeEach, describe, expect, it } from "vitest";
import type { Dataplane } from "weft";
import { ipv4, ipv6, UDP, udp, vxlan } from "../packets.js";
import { embedded } from "./embedded.js";
import { A, B, C, hostOf, MTU } from "./host.js";

let dp: Dataplane;
beforeEach(async () => {
  dp = await embedded();
  dp.setPolicy({
    policies: [
      {
        name: "no-mail",
        applies: [...A.leases, ...B.leases],
        egress: [{ action: "deny", protocol: "udp", ports: [25] }, { action: "allow" }],
      },
    ],
  });
});

type Family = 4 | 6;
const host = (node: 1 | 2, family: Family, n: number) =>
  family === 4 ? `10.244.${node}.${n}` : `fd00:0:0:${node}::${n.toString(16)}`;

const packet = (src: string, dst: string, size: number, dport: number, more = {}) => {
  const payload = udp(src, dst, new Uint8Array(size), { dport });
  return src.includes(":")
    ? ipv6({ src, dst, protocol: UDP, payload, ...more })
    : ipv4({ src, dst, protocol: UDP, df: true, payload, ...more });
};
const familyOf = (src: string): Family => (src.includes(":") ? 6 : 4);
const denied = (src: string) => packet(src, hostOf(B, familyOf(src)), 10, 25);
const tooBig = (src: string, to = B) => packet(src, hostOf(to, familyOf(src)), MTU, 80);

/** For a second, each millisecond so many packets of an attack, and every fifth one of the other kind. */
function attack(perMillisecond: number, flood: () => void, other: () => boolean): number {
  let answered = 0;
  for (let ms = 0; ms < 1000; ms++) {
    for (let i = 0; i < perMillisecond; i++) flood();
    if (ms % 5 === 0) answered += Number(other());
    dp.advance(1);
  }
  return answered;
}

const wasAnswered = ({ verdict }: { verdict: string }) => verdict === "answered";

describe.each([4, 6] as const)("IPv%i", (family) => {
  const bad = host(1, family, 66);
  const good = host(1, family, 7);
  const isTold = (src: string) => {
    const out = dp.fromDevice(tooBig(src));
    expect(out.reason).toBe("too-big");
    return wasAnswered(out);
  };

  it("3,000 denials a second of one workload leave every path MTU error of another", () => {
    expect(
      attack(
        3,
        () => dp.fromDevice(denied(bad)),
        () => isTold(good),
      ),
    ).toBe(200);
    const { answered, dropped } = dp.counters().out;
    expect(dropped["denied-egress"]).toBe(3200 - answered);
    expect(answered - 200).toBeLessThanOrEqual(400);
  });

  it("nor do they take those of the workload itself", () => {
    expect(
      attack(
        3,
        () => dp.fromDevice(denied(bad)),
        () => isTold(bad),
      ),
    ).toBe(200);
  });

  it("nor does a flood of packets that are too big take another's", () => {
    expect(
      attack(
        3,
        () => dp.fromDevice(tooBig(bad)),
        () => isTold(good),
      ),
    ).toBe(200);
  });

  it("nor do denials take another's denials", () => {
    const other = () => wasAnswered(dp.fromDevice(denied(good)));
    expect(attack(3, () => dp.fromDevice(denied(bad)), other)).toBe(200);
  });

  it("a peer with undeliverable packets from ever new sources uses up no errors of other peers or this host", () => {
    let n = 1;
    const late = (node: 1 | 2, to: string, from: string) => {
      const src = host(node, family, (n++ % 254) + 1);
      const ttl = family === 4 ? { ttl: 1 } : { hopLimit: 1 };
      return dp.fromWire(vxlan(packet(src, to, 10, 80, ttl)), from);
    };
    const flood = () => {
      expect(late(2, hostOf(C, family), B.endpoint).reason).toBe("ttl-exceeded");
      const src = host(2, family, (n++ % 254) + 1);
      expect(dp.fromWire(vxlan(tooBig(src, C)), B.endpoint).reason).toBe("too-big");
    };
    const ofC = () => {
      const src = hostOf(C, family);
      const relayed = dp.fromWire(vxlan(tooBig(src, B)), C.endpoint);
      return wasAnswered(relayed) && isTold(good) && wasAnswered(dp.fromDevice(denied(good)));
    };
    expect(attack(3, flood, ofC)).toBe(200);
    // At once, and in a second, each of both kinds.
    const { answered } = dp.counters().in;
    expect(answered).toBeLessThanOrEqual(200 + 2 * (500 + 500));
    expect(answered).toBeGreaterThanOrEqual(2 * (500 + 490));
  });
});

it("a source has 200 at once, and 200 a second, of each kind", () => {
  const answers = (make: (src: string) => Uint8Array) =>
    Array.from({ length: 300 }, () => dp.fromDevice(make("10.244.1.66"))).filter(wasAnswered)
      .length;
  expect(answers(denied)).toBe(200);
  expect(answers(tooBig)).toBe(200);
  dp.advance(500);
  expect(answers(denied)).toBe(100);
  expect(answers(tooBig)).toBe(100);
  dp.advance(3_600_000);
  expect(answers(denied)).toBe(200);
});

it("all together have 1,000 at once, and 1,000 a second", () => {
  const fromPeer = (peer: typeof B, n: number) => {
    const node = peer === B ? 2 : 3;
    const src = `10.244.${node}.${n}`;
    return dp.fromWire(vxlan(packet(src, "10.244.9.9", 10, 80)), peer.endpoint);
  };
  const round = () => {
    let answered = 0;
    for (let n = 1; n <= 250; n++) {
      for (let i = 0; i < 4; i++) {
        answered += Number(wasAnswered(fromPeer(B, n))) + Number(wasAnswered(fromPeer(C, n)));
        answered += Number(
          wasAnswered(dp.fromDevice(packet(`10.244.1.${n}`, "10.244.9.9", 10, 80))),
        );
      }
    }
    return answered;
  };
  expect(round()).toBe(1000);
  dp.advance(100);
  expect(round()).toBe(100);
});
