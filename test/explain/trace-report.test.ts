/** What is told of an explanation: whatever packet another node asks about, it fits in what may be said. */
import { expect, it } from "vitest";
import { Dataplane } from "weft";
import { packetFor } from "../../src/explain/question.js";
import {
  MAX_REPORTED_RULES,
  traceReportOf,
  traceReportSchema,
} from "../../src/explain/trace-report.js";
import { MAX_MESSAGE_BYTES } from "../../src/session/messages.js";
import { random, seedOfRun } from "../packets.js";
import { rounds } from "../rounds.js";

const LOGGED = 3 * MAX_REPORTED_RULES;
const LONG = "a".repeat(63);

async function policed(): Promise<Dataplane> {
  const plane = await Dataplane.create({
    vni: 1,
    mac: "02:00:00:00:00:01",
    mtu: 1450,
    address: "10.244.1.1",
    leases: ["10.244.1.0/24", "fd00:0:0:1::/64"],
    underlay: "192.0.2.1:4789",
  });
  plane.setPeers([
    {
      name: "b",
      endpoint: "192.0.2.2:4789",
      mac: "02:00:00:00:00:02",
      leases: ["10.244.2.0/24", "fd00:0:0:2::/64"],
    },
    { name: "c", endpoint: "192.0.2.3:4789", mac: "02:00:00:00:00:03", leases: ["10.244.3.0/24"] },
  ]);
  const ingress = [
    ...Array.from({ length: LOGGED }, () => ({ action: "log", protocol: "tcp" })),
    { action: "allow", protocol: "tcp", ports: [80] },
  ];
  const tiers = [{ name: LONG, order: 1 }];
  const applies = ["10.244.1.0/24", "fd00:0:0:1::/64"];
  plane.setPolicy({ tiers, policies: [{ name: LONG, tier: LONG, applies, ingress }] });
  return plane;
}

it("of a packet that is sent, the path that it takes", async () => {
  const plane = await policed();
  const sent = plane.explain({ src: "10.244.1.5", dst: "10.244.2.5" });
  for (const path of ["direct", "via a-node"] as const) {
    const known = { state: "silent", answered: "2030-01-01T00:00:00.000Z" } as const;
    for (const view of [known, { state: "unknown" } as const]) {
      const whole = { ...view, path, endpoint: "192.0.2.2:4789" };
      const told = traceReportOf({ ...sent, path: whole });
      expect(traceReportSchema.parse(JSON.parse(JSON.stringify(told)))).toMatchObject({
        path: whole,
      });
    }
  }
});

it("takes no path or refusal without what is said of it", async () => {
  const plane = await policed();
  const told = traceReportOf(plane.explain({ src: "10.244.1.5", dst: "10.244.2.5" }));
  const way = { path: "direct", endpoint: "192.0.2.2:4789" };
  const views: [object, boolean][] = [
    [{ path: { ...way, state: "silent" } }, false],
    [{ path: { ...way, state: "answers" } }, false],
    [{ host: { to: "refused" } }, false],
    [{ host: { to: "nowhere" } }, false],
    [{ host: { to: "refused", why: "Network is unreachable" } }, true],
    [{ host: { to: "device" } }, true],
  ];
  for (const [view, isTaken] of views) {
    expect(traceReportSchema.safeParse({ ...told, ...view }).success, JSON.stringify(view)).toBe(
      isTaken,
    );
  }
});

/** Time for much computing on a machine that is shared; the other tests keep the usual limit. */
const BUSY_MS = 180_000;

it("of many rules that were met, the last ones", async () => {
  const plane = await policed();
  const question = { src: "10.244.2.5", dst: "10.244.1.5", dport: 22, peer: "b" };
  const explanation = plane.explain(question);
  const rulesIn = ({ stages }: { stages: readonly { rules?: readonly unknown[] }[] }) =>
    stages.flatMap(({ rules = [] }) => rules);
  expect(rulesIn(explanation)).toHaveLength(LOGGED + 1);
  expect(rulesIn(traceReportOf(explanation))).toEqual(
    rulesIn(explanation).slice(-MAX_REPORTED_RULES),
  );
});

it("of any bytes: it can be told, and the other end takes it", { timeout: BUSY_MS }, async () => {
  const rnd = random(seedOfRun("told"));
  const below = (n: number) => Math.floor(rnd() * n);
  const plane = await policed();
  const ends = [
    ["10.244.2.5", "10.244.1.5"],
    ["10.244.2.5", "10.244.3.5"],
    ["fd00:0:0:2::5", "fd00:0:0:1::5"],
  ] as const;
  const whole = ends.flatMap(([src, dst]) =>
    [0, 1, 6, 17, 43, 44, 47, 51, 58, 60, 132].map((protocol) =>
      packetFor({ src, dst, protocol, dport: 80 }),
    ),
  );
  const ended = new Set<string>();
  for (let n = 0; n < rounds(300, 10_000); n++) {
    const bytes = [
      ...whole[below(whole.length)]!,
      ...Array.from({ length: below(60) }, () => below(256)),
    ];
    for (let wrong = below(4); wrong > 0; wrong--) bytes[below(bytes.length)] = below(256);
    const packet = Uint8Array.from(
      bytes.slice(0, below(3) > 0 ? undefined : 1 + below(bytes.length)),
    );
    const told = traceReportOf(plane.explain({ packet, peer: "b" }));
    const text = JSON.stringify(told);
    expect(text.length).toBeLessThan(MAX_MESSAGE_BYTES / 2);
    expect(traceReportSchema.parse(JSON.parse(text))).toEqual(told);
    ended.add(told.reason ?? told.verdict);
  }
  expect(ended.size).toBeGreaterThan(6);
});
