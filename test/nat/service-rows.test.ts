/** The services as `weft services` shows them. */
import { expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { readNat } from "../../src/nat/document.js";
import { natRulesOf } from "../../src/nat/rules.js";
import { serviceRows } from "../../src/nat/service-rows.js";
import type { TranslatedFlow } from "../../src/nat/services.js";

const DOCUMENT = readNat(
  `services:
  - name: web
    protocol: tcp
    address: 10.96.0.10
    port: 80
    backends: [10.244.1.5:8080, { to: 10.244.2.5:8080, drain: true }, 10.244.3.5:8080, { to: 192.0.2.5:8080, weight: 3 }]
  - { name: dns, protocol: udp, address: 10.96.0.10, port: 80, backends: [10.244.1.5:8080] }
ports:
  - { protocol: tcp, address: 10.244.1.1, port: 80, to: 10.244.3.5:80 }
`,
  "n",
);
const members = new Map(
  [1, 2, 3].map((n) => [`h${n}`, [parsePrefix(`10.244.${n}.0/24`)]] as const),
);
const DOWN = { since: Date.UTC(2026, 0, 2), why: "status 503" };
const living = new Set(["h1", "h2"]);

const flow = (dst: string, dport: number, to?: string): TranslatedFlow => ({
  protocol: "tcp",
  dst,
  dport,
  bytes: 100,
  replyBytes: 1000,
  ...(to !== undefined && { onward: { src: "10.244.1.9", sport: 40_000, dst: to, dport: 8080 } }),
});

it("each backend has its node, its state, and its flows", () => {
  const { services } = natRulesOf(DOCUMENT, members, "h1", (name) => living.has(name));
  const flows = [
    flow("10.96.0.10", 80, "10.244.1.5"),
    flow("10.96.0.10", 80, "10.244.1.5"),
    flow("10.96.0.10", 80, "10.244.2.5"),
    flow("10.96.0.10", 81, "10.244.1.5"),
    flow("10.244.1.5", 8080),
  ];
  const rows = serviceRows(
    DOCUMENT,
    services.filter(({ isPort }) => isPort),
    { members, living },
    flows,
    (_, { weight }) => (weight === 3 ? DOWN : undefined),
  );
  expect(rows.map(({ name, kind, protocol }) => [name, kind, protocol])).toEqual([
    ["web", "service", "tcp"],
    ["dns", "service", "udp"],
    ["10.244.1.1:80/tcp", "port", "tcp"],
  ]);
  const up = { since: null, why: null };
  expect(rows[0]!.backends).toEqual([
    { to: "10.244.1.5:8080", node: "h1", weight: 1, state: "active", ...up, flows: 2, bytes: 2200 },
    {
      to: "10.244.2.5:8080",
      node: "h2",
      weight: 1,
      state: "drained",
      ...up,
      flows: 1,
      bytes: 1100,
    },
    { to: "10.244.3.5:8080", node: "h3", weight: 1, state: "dead", ...up, flows: 0, bytes: 0 },
    {
      to: "192.0.2.5:8080",
      node: null,
      weight: 3,
      state: "down",
      since: "2026-01-02T00:00:00.000Z",
      why: "status 503",
      flows: 0,
      bytes: 0,
    },
  ]);
  expect(rows[1]!.backends).toMatchObject([{ state: "active", flows: 0 }]);
  expect(rows[2]!.backends).toMatchObject([{ to: "10.244.3.5:80", node: "h3", state: "dead" }]);
});
