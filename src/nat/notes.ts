/** Parts of a document that have no effect as the nodes are now: most often a typing mistake. */
import { type Address, formatAddress, formatPrefix, overlaps, type Prefix } from "../address.js";
import type { Members } from "../policy/resolver.js";
import { type NatDocument, NO_NAT } from "./document.js";
import { Owners, ownsAll } from "./owners.js";
import { portName } from "./port.js";
import { natRulesOf } from "./rules.js";

/** Most notes of one document. */
const MAX_NOTES = 20;

/** @returns a sentence for each, in the order of the document's sections */
export function natNotes(document: NatDocument, members: Members): string[] {
  const notes: string[] = [];
  for (const note of all(document, members)) {
    if (notes.length === MAX_NOTES) break;
    notes.push(note);
  }
  return notes;
}

function* all(document: NatDocument, members: Members): Generator<string> {
  const owners = new Owners(members);
  for (const { name, address } of document.services) {
    const owner = owners.of(address);
    if (owner === undefined) continue;
    yield `service ${name}: ${formatAddress(address)} is in a lease of ${owner}; choose an address that no node owns`;
  }
  for (const { name, affinityMs } of document.services) {
    if (affinityMs === 0) continue;
    yield `service ${name}: the time of its affinity has no effect yet; a client keeps its backend while that gets new flows and no other comes`;
  }
  yield* portNotes(document, members, owners);
  const ownedByOne = (prefix: Prefix) =>
    [...members.values()].some((leases) => ownsAll(leases, prefix));
  for (const [i, { addresses }] of document.snat.entries()) {
    if (ownedByOne(addresses)) continue;
    yield `snat ${i}: no node owns all of ${formatPrefix(addresses)}, so none translates by it`;
  }
  for (const [i, { to }] of document.netmap.entries()) {
    if (ownedByOne(to)) continue;
    yield `netmap ${i}: no node owns all of ${formatPrefix(to)}, so none translates by it`;
  }
  yield* netmapNotes(document, members);
}

function* portNotes({ ports }: NatDocument, members: Members, owners: Owners): Generator<string> {
  const places = new Map<string, string>();
  for (const port of ports) {
    const { at, to } = port;
    if (at.kind === "host") continue;
    const owner = at.kind === "node" ? at.name : owners.of(at.address);
    const [rule] =
      owner === undefined
        ? []
        : natRulesOf({ ...NO_NAT, ports: [port] }, members, owner, () => true).services;
    if (!rule) {
      yield `port ${portName(port)}: ${lack(at.kind === "node" ? at.name : at.address, to.address)}`;
      continue;
    }
    const earlier = places.get(rule.name);
    if (earlier === undefined) places.set(rule.name, portName(port));
    else yield `port ${portName(port)}: ${earlier} is at the same place, and counts`;
  }
}

const lack = (at: string | Address, { family }: Address): string =>
  typeof at === "string"
    ? `${at} has no IPv${family} lease yet`
    : `no node owns ${formatAddress(at)}, so none publishes it`;

function* netmapNotes({ netmap }: NatDocument, members: Members): Generator<string> {
  for (const [node, leases] of members) {
    const own = netmap.filter(({ to }) => ownsAll(leases, to));
    for (const [i, { from, line }] of own.entries()) {
      const earlier = own.slice(0, i).find((one) => overlaps(one.from, from));
      if (!earlier) continue;
      yield `netmap (line ${line}): ${node} maps ${formatPrefix(earlier.from)} already, by line ${earlier.line}, which counts`;
    }
  }
}

/** The nodes that a document names and that are not members. */
export function absentFromNat({ ports, egress }: NatDocument, members: Members): string[] {
  const named = [
    ...ports.flatMap(({ at }) => (at.kind === "address" ? [] : [at.name ?? []].flat())),
    ...egress.flatMap(({ via }) => via),
  ];
  return [...new Set(named)].filter((name) => !members.has(name)).sort();
}
