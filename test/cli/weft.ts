/** The command as people run it: its own process, built, with nothing of ours in its environment. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { parseEndpoint } from "../../src/address.js";
import { type KnownNode, progressOf } from "../../src/document-sync/progress.js";
import { WeftError } from "../../src/error.js";
import { type Coverage, CoverageView } from "../../src/explain/coverage.js";
import type { Question } from "../../src/explain/question.js";
import { ControlServer } from "../../src/http/server.js";
import type { Control, Counters, Explained, FlowRow } from "../../src/http/view.js";
import type { ServiceRow } from "../../src/nat/service-rows.js";

export const WEFT = fileURLToPath(new URL("../../dist/cli/weft.js", import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const weft = (
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stdin = "",
): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [WEFT, ...args],
      { env: { PATH: process.env.PATH, ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
    // It may end without having read all.
    child.stdin?.on("error", () => {}).end(stdin);
  });

/** A directory for one test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), `weft-cli-${process.pid}-`));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder(), name);
  writeFileSync(path, text, { mode });
  return path;
}

export const COUNTERS: Counters = {
  out: {
    received: 107,
    delivered: 100,
    answered: 2,
    answeredBy: { "no-route": 2 },
    dropped: { "no-route": 5 },
  },
  in: {
    received: 1000,
    delivered: 999,
    answered: 0,
    answeredBy: {},
    dropped: { "wrong-vni": 1 },
    relayed: 30,
    control: 12,
    controlDropped: 0,
    controlDroppedUnknown: 0,
  },
  meshRefused: { rate: 900, crowded: 30, late: 4 },
  rules: [
    {
      direction: "ingress",
      tier: "default",
      kind: "rule",
      action: "allow",
      isShadow: false,
      policy: "web",
      index: 0,
      line: 4,
      packets: 12,
      bytes: 840,
    },
    {
      direction: "ingress",
      tier: "default",
      kind: "tier default",
      action: "deny",
      isShadow: false,
      packets: 3,
      bytes: 180,
    },
  ],
};

export const FLOWS: readonly FlowRow[] = [
  {
    direction: "in",
    protocol: "tcp",
    src: "10.244.8.5",
    sport: 40_000,
    dst: "10.244.7.80",
    dport: 80,
    state: "established",
    verdict: "allowed",
    rule: "web ingress 0",
    packets: 6,
    bytes: 500,
    replyPackets: 5,
    replyBytes: 4_000,
    idleMs: 1_200,
  },
  {
    direction: "out",
    protocol: "udp",
    src: "10.244.7.1",
    sport: 50_000,
    dst: "10.244.8.53",
    dport: 53,
    onward: { src: "10.244.7.1", sport: 50_000, dst: "10.244.8.54", dport: 5353 },
    state: "udp-new",
    verdict: "open",
    rule: null,
    packets: 1,
    bytes: 60,
    replyPackets: 0,
    replyBytes: 0,
    idleMs: 10,
  },
];

export const POLICY = `{"policies": [
{"name": "web",
"applies": ["10.244.7.80"], "ingress": [
{"action": "allow", "protocol": "tcp", "ports": [80]}]}]}`;

export const HASH = "ab".repeat(8);

export const NAT_TEXT = `{"services": [
{"name": "web", "protocol": "tcp", "address": "10.96.0.10", "port": 80,
"backends": ["10.244.7.80:8080"]}]}`;

const NOT_DOWN = { since: null, why: null };

const SERVICES: readonly ServiceRow[] = [
  {
    name: "web",
    kind: "service",
    protocol: "tcp",
    address: "10.96.0.10",
    port: 80,
    backends: [
      {
        to: "10.244.7.80:8080",
        node: "h1",
        weight: 1,
        state: "active",
        ...NOT_DOWN,
        flows: 3,
        bytes: 4096,
      },
      {
        to: "192.0.2.80:8080",
        node: null,
        weight: 2,
        state: "down",
        since: "2026-11-30T08:00:00.000Z",
        why: "connection refused",
        flows: 0,
        bytes: 0,
      },
    ],
  },
  { name: "none", kind: "service", protocol: "udp", address: "10.96.0.11", port: 53, backends: [] },
  {
    name: "10.244.7.1:8080/tcp",
    kind: "port",
    protocol: "tcp",
    address: "10.244.7.1",
    port: 8080,
    backends: [
      {
        to: "10.244.8.5:80",
        node: "h2",
        weight: 1,
        state: "dead",
        ...NOT_DOWN,
        flows: 0,
        bytes: 0,
      },
    ],
  },
];

const inForce = [
  { kind: "policy", version: 3, hash: HASH },
  { kind: "nat", version: 2, hash: HASH },
];
export const NODE_H1: KnownNode = { name: "h1", id: "01", state: "self", documents: inForce };
export const NODE_H2: KnownNode = {
  name: "h2",
  id: "02",
  state: "established",
  documents: inForce,
};

const [ALLOWING, DENYING] = COUNTERS.rules;

export const EXPLANATION: Explained = {
  direction: "in",
  stages: [
    {
      stage: "parse",
      saw: "tcp 10.244.8.5:49152 > 10.244.7.80:443",
      verdict: "goes on",
      changes: [],
    },
    {
      stage: "acl",
      saw: "a rule matched",
      verdict: "denied-ingress",
      changes: [],
      rules: [DENYING!],
    },
  ],
  verdict: "dropped",
  reason: "denied-ingress",
  sentence: "a policy denies it where it arrives",
  rule: DENYING!,
  almost: { rule: ALLOWING!, field: "ports" },
  counter: "in.dropped.denied-ingress",
  peer: "h2",
  datagrams: [],
  packets: [],
  further: [],
};

/** It goes on to h2, where it comes to the same end. */
export const BOTH_SIDES: Explained = {
  direction: "out",
  stages: [{ stage: "route", saw: "the path to h2", verdict: "goes on", changes: [] }],
  verdict: "sent",
  counter: "out.delivered",
  peer: "h2",
  datagrams: [],
  packets: [],
  further: [{ node: "h2", ...EXPLANATION }],
};

/** It goes on to h2, which does not answer. */
export const ONE_SIDE: Explained = {
  ...BOTH_SIDES,
  further: [],
  unasked: { node: "h2", from: "h1", why: "it did not answer in time" },
};

/** The only path to h2 is no longer answered. */
export const LOST: Explained = {
  ...BOTH_SIDES,
  path: {
    state: "silent",
    answered: "2030-01-01T00:00:00.123Z",
    path: "direct",
    endpoint: "192.0.2.2:4789",
  },
  further: [{ node: "h2", stages: [], verdict: "delivered", counter: "in.delivered" }],
};

/** It begins at h3, whose host sends it by another device. */
export const NOT_CARRIED: Explained = {
  node: "h3",
  owner: "h3",
  direction: "out",
  packet: { src: "10.244.9.5", dst: "8.8.8.8", protocol: 6, length: 40 },
  stages: [],
  verdict: "not-carried",
  host: { to: "device", device: "eth0", via: "192.0.2.254", route: "default" },
  unseen: { why: "the host routes it", remedy: "start weft with --through-core" },
  datagrams: [],
  packets: [],
  further: [],
};

/** What the agent was asked to explain. */
export const asked: Question[] = [];

/** Two workloads of h1, whose packets to each other the host routes. */
const COVERAGE: Coverage = {
  throughCore: false,
  routed: ["10.244.0.0/16"],
  own: ["10.244.7.1"],
  workloads: [
    { prefix: "10.244.7.80/32", device: "veth1", isLed: false },
    { prefix: "10.244.7.81/32", device: "veth2", isLed: false },
  ],
};

/** An agent's answers, whatever they are made from. */
export const view = (healthy = true): Control => ({
  forget: (name, { force }) => {
    if (name === "h2" && force) return ["10.244.8.0/24"];
    throw new WeftError("TOO_EARLY", `${name} may only be cut off`, "wait");
  },
  flows: () => FLOWS,
  capture: () => {
    throw new WeftError("CAPTURE_BUSY", "another capture runs already", "end that one first");
  },
  policy: () => ({
    version: 3,
    digest: "ab".repeat(32),
    author: { id: "cd".repeat(16), name: "h2" },
    text: POLICY,
  }),
  policyProgress: () => progressOf("policy", { version: 3, hash: HASH }, [NODE_H2, NODE_H1]),
  applyPolicy: (text, { dryRun, resetVersion }) => {
    if (text.includes("too-much")) throw new WeftError("ACL_FULL", "too many rules", "use fewer");
    return {
      version: dryRun ? null : resetVersion ? 1 : 3,
      hash: dryRun ? null : HASH,
      rules: { egress: 0, ingress: 2 },
      absent: text.includes("node:h9") ? ["h9"] : [],
      outside: text.includes("192.168.7.")
        ? [{ where: "web applies", prefix: "192.168.7.0/24" }]
        : [],
      unseen: text.includes("10.244.7.81") ? new CoverageView(COVERAGE).unseen() : [],
    };
  },
  services: () => SERVICES,
  checks: () => [
    { service: "web", to: "10.244.7.80:8080", isUp: true },
    { service: "web", to: "192.0.2.80:8080", isUp: false },
  ],
  nat: () => ({
    version: 2,
    digest: "ab".repeat(32),
    author: { id: "cd".repeat(16), name: "h2" },
    text: NAT_TEXT,
  }),
  natProgress: () => progressOf("nat", { version: 2, hash: HASH }, [NODE_H2, NODE_H1]),
  applyNat: (text, { dryRun, resetVersion }) => ({
    version: dryRun ? null : resetVersion ? 1 : 2,
    hash: dryRun ? null : HASH,
    rules: { services: 1, ports: 0, masquerade: 0, snat: 0, netmap: 0, egress: 0 },
    absent: text.includes("node:h9") ? ["h9"] : [],
    notes: text.includes("10.244.7.9") ? ["service web: 10.244.7.9 is in a lease of h1"] : [],
  }),
  explain: async (question, { here }) => {
    asked.push(question);
    if ("packet" in question || question.direction === "in" || here) return EXPLANATION;
    switch ("dport" in question && question.dport) {
      case 22:
        return ONE_SIDE;
      case 23:
        return LOST;
      case 24:
        return NOT_CARRIED;
      default:
        return BOTH_SIDES;
    }
  },
  status: () => ({
    name: "h1",
    healthy,
    problems: healthy ? [] : ["no peer answers"],
    notes: ["the path to h3 is narrow"],
    coverage: COVERAGE,
    network: ["10.244.0.0/16"],
    address: "10.244.7.1",
    addresses: ["10.244.7.1", "fd00:244:0:7::1"],
    leases: ["10.244.7.0/24"],
    mac: "02:00:00:00:00:01",
    vni: 1,
    mtu: 1450,
    underlay: "192.0.2.1:4789",
    offloads: { tso: healthy, uso: false, gso: healthy, gro: false },
    log: { lost: 0, waiting: 0 },
    peers: 2,
    policy: { version: 3, hash: HASH, newest: 3, inForce: 2, known: 2 },
    nat: { version: 2, hash: HASH, newest: 2, inForce: 2, known: 2 },
  }),
  peers: () => [
    {
      name: "h2",
      endpoint: "192.0.2.2:4789",
      mac: "02:00:00:00:00:02",
      leases: ["10.244.8.0/24", "10.244.9.0/24"],
      state: "established",
      since: null,
      path: "direct",
      rttMs: 0.4,
      loss: 0.25,
      documents: NODE_H2.documents,
      mtu: 1450,
    },
    {
      name: "evil\u001b[2J",
      endpoint: "192.0.2.33:4789",
      mac: "02:00:00:00:00:03",
      leases: [],
      state: "connecting",
      since: "2030-01-01T00:00:00.123Z",
      path: "via h2",
      rttMs: null,
      loss: null,
      documents: [{ kind: "policy", version: 0, held: { version: 3, why: "too-large" } }],
      mtu: 1280,
    },
  ],
  routes: () => [
    { prefix: "10.244.10.0/24", peer: "h2", via: "192.0.2.2:4789" },
    { prefix: "10.244.8.0/24", peer: "h2", via: "192.0.2.2:4789" },
  ],
  leases: () => [
    {
      subnet: "10.244.9.0/24",
      owner: "flannel",
      expires: null,
      state: "left",
      since: "2029-12-31T00:00:00.500Z",
      isReserved: true,
    },
    {
      subnet: "10.244.7.0/24",
      owner: "h1",
      expires: "2030-01-01T00:00:00.000Z",
      state: "self",
      since: null,
      isReserved: false,
    },
  ],
  counters: () => COUNTERS,
});

/** A control socket that shows `from`. */
export async function serve(from: Control = view(), http?: string): Promise<string> {
  const socket = join(folder(), "run/weft.sock");
  const server = new ControlServer(from, { socket, ...(http && { http: parseEndpoint(http) }) });
  await server.start();
  onTestFinished(() => server.stop());
  return socket;
}
