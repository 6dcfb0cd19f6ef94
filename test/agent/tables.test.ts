/** Members and policy brought into the tables of a core, with rules that are compiled in place. */
import { beforeEach, expect, it } from "vitest";
import { Tables, type TablesParts } from "../../src/agent/tables.js";
import { Core } from "../../src/core/instance.js";
import { Publisher } from "../../src/core/publish.js";
import type { DocumentKind } from "../../src/documents/document-kind.js";
import { WeftError } from "../../src/error.js";
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

/** Sets what the mesh says of a member, and of this node's leases. */
function say(id: string, one?: Peer): void {
  changed.add(id);
  if (one) members.set(id, one);
  else members.delete(id);
}

beforeEach(async () => {
  members.clear();
  changed.clear();
  own = ["10.244.1.0/24"];
  const core = await Core.create();
  publisher = new Publisher(core);
  let facts: PolicyFacts | WeftError | undefined;
  readInPlace.read(text, (result) => {
    facts = result;
  });
  const mesh = {
    document: ({ name }: DocumentKind) => (name === "policy" ? { text, facts } : undefined),
    members: () => [],
    departed: () => [],
    knowsDocument: () => true,
    enforces: () => {},
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
      io: { mtu: { most: 1450 } } as TablesParts["io"],
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
