/** The differences between two documents, entry by entry. */
import { formatAddress, formatEndpoint, formatPrefix, type Prefix } from "../address.js";
import type { NatDocument } from "./document.js";
import { portName } from "./port.js";
import { placeOfService, type Service } from "./service.js";
import type { Covered } from "./source.js";

export interface NatChange {
  /** The entry, as `service web backend 10.244.1.5:8080`. */
  readonly entry: string;
  /** Absent where it is new. */
  readonly before?: string;
  /** Absent where it is removed. */
  readonly after?: string;
}

/** @returns the entries that differ, in the order of the new document; removed ones come last */
export function natDiff(before: NatDocument, after: NatDocument): NatChange[] {
  const [old, now] = [entriesOf(before), entriesOf(after)];
  const changed = [...now].flatMap(([entry, after]): NatChange[] => {
    const before = old.get(entry);
    if (before === after) return [];
    return [{ entry, ...(before !== undefined && { before }), after }];
  });
  const removed = [...old]
    .filter(([entry]) => !now.has(entry))
    .map(([entry, before]): NatChange => ({ entry, before }));
  return [...changed, ...removed];
}

/** The content of each entry, by its name. Rules whose order counts have their number as name. */
function entriesOf(document: NatDocument): Map<string, string> {
  const { profile, perSource, masqueradeOutside, ports, services } = document;
  const entries = new Map<string, string>([["limits perSource", String(perSource)]]);
  if (profile) entries.set("profile", profile);
  for (const service of services) addService(entries, service);
  for (const port of ports) entries.set(`port ${portName(port)}`, `to ${formatEndpoint(port.to)}`);
  const addAll = (section: string, rules: readonly string[]) => {
    for (const [i, rule] of rules.entries()) entries.set(`${section} ${i}`, rule);
  };
  addAll("masquerade", document.masquerade.map(covered));
  if (masqueradeOutside) entries.set("masquerade outside", "yes");
  addAll(
    "snat",
    document.snat.map((rule) => {
      const { addresses, ports } = rule;
      const at = ports ? ` ports ${ports.low}-${ports.high}` : "";
      return `${covered(rule)} address ${formatPrefix(addresses)}${at}`;
    }),
  );
  addAll("netmap", document.netmap.map(covered));
  addAll(
    "egress",
    document.egress.map(({ from, to, via, address }) =>
      [
        `from ${listed(from)} to ${listed(to)}`,
        `via ${via.join(", ")} address ${formatAddress(address)}`,
      ].join(" "),
    ),
  );
  return entries;
}

function addService(entries: Map<string, string>, service: Service): void {
  const name = `service ${service.name}`;
  entries.set(name, [placeOfService(service), affinityOf(service), checkOf(service)].join(", "));
  for (const { weight, drain, ...endpoint } of service.backends) {
    const state = drain ? ", drained" : "";
    entries.set(`${name} backend ${formatEndpoint(endpoint)}`, `weight ${weight}${state}`);
  }
}

function affinityOf({ byClient, affinityMs }: Service): string {
  if (!byClient) return "affinity none";
  return affinityMs === 0 ? "affinity client" : `affinity client ${affinityMs / 1000}s`;
}

function checkOf({ check }: Service): string {
  if (!check) return "no check";
  const { kind, path = "", interval, timeout } = check;
  return `check ${kind}${path && ` ${path}`} every ${interval / 1000}s within ${timeout / 1000}s`;
}

const covered = ({ from, to }: Covered): string =>
  `from ${formatPrefix(from)} to ${formatPrefix(to)}`;
const listed = (prefixes: readonly Prefix[]): string => prefixes.map(formatPrefix).join(", ");
