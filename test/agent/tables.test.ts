/** Members and policy brought into the tables of a core, with rules that are compiled in place. */
import { beforeEach, describe, expect, it } from "vitest";
import { Tables, type TablesParts } from "../../src/agent/tables.js";
import { Core } from "../../src/core/instance.js";
import { Publisher } from "../../src/core/publish.js";
import type { DocumentKind } from "../../src/documents/document-kind.js";
import { WeftError } from "../../src/error.js";
import { type NatDocument, readNat } from "../../src/nat/document.js";
import type { CheckResults } from "../../src/nat/translator.js";
import type { Peer } from "../../src/peer.js";
import { PolicyEngine, type PolicyFacts, readInPlace } from "../../src/policy/engine.js";

const MAC = "02:00:00:00:00:01";
const peer = (n: number, name: string, subnet: number): Peer => ({
  name,
  endpoint: `192.0.2.${n}:4789`,
  mac: `02:00:00:00:00:0${n}`,
  leases: [`10.244.${subnet}.0/24`],
});

/** A policy that names the node `a` alone. */
const text = JSON.stringify({
  policies: [
    { name: "p", applies: ["10.244.1.0/24"], ingress: [{ action: "allow", from: ["node:a"] }] },
  ],
});

let publisher: Publisher;
let tables: Tables;
let own: readonly string[];
const members = new Map<string, Peer>();
const changed = new Set<string>();
/** The translation document that the mesh holds, with a number as its seal. */
let nat: { facts: NatDocument; seal: number } | undefined;
/** The seal that is reported as in force. */
let said: unknown;
/** The results of the checks of backends. */
let checks: { revision: number; passes: CheckResults["passes"] };
/** By name; none for those that live. */
const states = new Map<string, string>();

/** Sets what the mesh says of a member, and of this node's leases. */
function say(id: string, one?: Peer): void {
  changed.add(id);
  if (one) members.set(id, one);
  else members.delete(id);
}

beforeEach(async () => {
  members.clear();
  changed.clear();
  states.clear();
  nat = undefined;
  checks = { revision: 0, passes: () => true };
  own = ["10.244.1.0/24"];
  const core = await Core.create();
  publisher = new Publisher(core);
  let facts: PolicyFacts | WeftError | undefined;
  readInPlace.read(text, (result) => {
    facts = result;
  });
  const mesh = {
    document: ({ name }: DocumentKind) => (name === "policy" ? { text, facts } : nat),
    members: () => [...members.values()].map(({ name }) => ({ name, state: states.get(name) })),
    departed: () => [],
    knowsDocument: () => true,
    enforces: ({ name }: DocumentKind, seal: unknown, { isMisfit }: { isMisfit: boolean }) => {
      if (name === "nat") said = { seal, isMisfit };
    },
    self: () => ({ mac: MAC, leases: own }),
    peer: (id: string) => members.get(id),
    takeChanged: () => {
      const ids = [...changed];
      changed.clear();
      return ids;
    },
  };
  tables = new Tables(
    {
      core,
      publisher,
      mesh: mesh as unknown as TablesParts["mesh"],
      policies: new PolicyEngine(core.layout),
      io: { mtu: { most: 1450 }, resetGone: () => {} } as TablesParts["io"],
      checks: {
        get revision() {
          return checks.revision;
        },
        passes: (service, backend) => checks.passes(service, backend),
      },
    },
    { name: "me", vni: 1, dscp: 0 },
  );
});

/** Updates until no other rules are ready. @returns the problems of the last update */
function settle(): string[] {
  let isDue = true;
  let problems: string[] = [];
  const due = () => {
    isDue = true;
  };
  tables.on("changed", due);
  for (let left = 5; isDue && left > 0; left--) {
    isDue = false;
    try {
      problems = tables.update();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      problems = [error.message];
    }
  }
  tables.off("changed", due);
  return problems;
}

const byName = () =>
  Object.fromEntries(publisher.peers.map(({ name, leases }) => [name, leases.join()]));

it("members that swap names at once are both peers, though the policy names one of the two", () => {
  say("1", peer(3, "a", 3));
  say("2", peer(4, "b", 4));
  expect(settle()).toEqual([]);
  say("1", peer(3, "b", 3));
  say("2", peer(4, "a", 4));
  expect(settle()).toEqual([]);
  expect(byName()).toEqual({ a: "10.244.4.0/24", b: "10.244.3.0/24" });
});

it("a lease that goes from a node that the policy names to one that it does not name is the second one's", () => {
  say("1", peer(3, "a", 3));
  say("2", peer(4, "b", 4));
  expect(settle()).toEqual([]);
  say("1", peer(3, "a", 5));
  say("2", peer(4, "b", 3));
  expect(settle()).toEqual([]);
  expect(byName()).toEqual({ a: "10.244.5.0/24", b: "10.244.3.0/24" });
});

it("a lease that goes from this node to another is the other one's", () => {
  expect(settle()).toEqual([]);
  own = [];
  say("2", peer(4, "b", 1));
  expect(settle()).toEqual([]);
  expect(byName()).toEqual({ b: "10.244.1.0/24" });
});

describe("the translation document", () => {
  const backends = (count: number, port = 80) =>
    Array.from({ length: count }, (_, i) => `10.244.3.${i}:${port}`);
  const web = (port: number) => ({
    name: `web${port}`,
    protocol: "tcp",
    address: "10.96.0.1",
    port,
  });
  const hold = (seal: number, document: object) => {
    nat = { facts: readNat(JSON.stringify(document), "n"), seal };
  };

  it("is in force once its rules are in the tables", () => {
    settle();
    expect(said).toEqual({ seal: null, isMisfit: false });
    hold(1, { services: [{ ...web(80), backends: backends(2) }] });
    const { generation } = publisher.live();
    expect(settle()).toEqual([]);
    expect(said).toEqual({ seal: 1, isMisfit: false });
    expect(publisher.live().generation).toBeGreaterThan(generation);
  });

  it("changes nothing while nothing of it changes, and something with a death", () => {
    say("1", peer(3, "a", 3));
    hold(1, { services: [{ ...web(80), backends: backends(2) }] });
    settle();
    const { generation } = publisher.live();
    say("2", peer(4, "b", 4));
    members.delete("2");
    settle();
    expect(publisher.live().generation).toBe(generation);
    expect(tables.natRules().services[0]!.backends).toHaveLength(2);
    states.set("a", "dead");
    settle();
    expect(tables.natRules().services[0]!.backends).toEqual([]);
    expect(publisher.live().generation).toBe(generation + 1);
  });

  it("gives new flows to the backends whose checks pass", () => {
    hold(1, { services: [{ ...web(80), check: { tcp: true }, backends: backends(2) }] });
    settle();
    const { generation } = publisher.live();
    const active = () => tables.natRules().services[0]!.backends.map(({ isActive }) => isActive);
    expect(active()).toEqual([true, true]);
    const first = nat!.facts.services[0]!.backends[0];
    checks = { revision: 1, passes: (_, backend) => backend !== first };
    expect(tables.givesFlows(nat!.facts.services[0]!, first!)).toBe(true);
    settle();
    expect(active()).toEqual([false, true]);
    const [service] = nat!.facts.services;
    expect(service!.backends.map((one) => tables.givesFlows(service!, one))).toEqual([false, true]);
    expect(publisher.live().generation).toBe(generation + 1);
    expect(tables.natInForce).toBe(nat!.facts);
    checks = { revision: 2, passes: () => true };
    settle();
    expect(active()).toEqual([true, true]);
  });

  it("that does not fit leaves the earlier one in force, and the peers go on", () => {
    hold(1, { services: [{ ...web(80), backends: backends(2) }] });
    settle();
    const ports = Array.from({ length: 600 }, (_, i) => i + 1);
    hold(2, { services: ports.map((port) => ({ ...web(port), backends: backends(250, port) })) });
    say("1", peer(3, "a", 3));
    expect(settle()).toEqual([
      expect.stringMatching(/^the translation document is not in force: there are 150000 backends/),
    ]);
    expect(said).toEqual({ seal: 1, isMisfit: true });
    expect(byName()).toEqual({ a: "10.244.3.0/24" });
    hold(3, {});
    expect(settle()).toEqual([]);
    expect(said).toEqual({ seal: 3, isMisfit: false });
  });
});
