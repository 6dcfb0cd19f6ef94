/** The members computed from all records: the slow twin of `MemberView`. */
import { parseEndpoint } from "../../src/address.js";
import type { Tunnel } from "../../src/gossip/member-view.js";
import type { NodeRecord } from "../../src/gossip/record.js";
import { subnetOf } from "../../src/lease/grant.js";
import { ageOf, slowHolders } from "../lease/slow-holders.js";

export interface SlowView {
  readonly members: readonly NodeRecord[];
  /** By subnet, the public key of its holder. */
  readonly holders: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
}

/** The flaw in a record's endpoints, for a node that is not on the loopback device; or undefined. */
function wrong({ vtep, mesh }: NodeRecord): string | undefined {
  if (/^(0|127|22[4-9]|2[345]\d)\.|^\[(:|ff|fe[89ab])/.test(vtep)) {
    return `says it is at ${vtep}, which is no other host's`;
  }
  if (vtep.startsWith("10.244.")) return `says it is at ${vtep}, inside the overlay`;
  const [a, b] = [vtep, mesh].map((endpoint) => endpoint.replace(/:\d+$/, ""));
  return a === b ? undefined : `has its VTEP at ${vtep}, another address than its mesh`;
}

/** The view of all members. `lapsed` are the ids of expired ones. */
export function slowView(
  records: readonly NodeRecord[],
  lapsed: ReadonlySet<string>,
  own: Tunnel,
): SlowView {
  const ring = slowHolders(
    records.flatMap(({ owner, leases }) => leases.map((proof) => ({ holder: owner, proof }))),
  );
  const familyOf = ({ vtep }: NodeRecord) => parseEndpoint(vtep).address.family;
  const family = own.underlay.address.family;
  const serving = records.filter(
    (record) =>
      !record.withdrawn && record.vni === own.vni && familyOf(record) === family && !wrong(record),
  );
  const rank = ({ id, leases, owner }: NodeRecord) =>
    [Number(lapsed.has(id)), leases.map(ageOf).sort()[0], owner].join("\n\n");
  const first = (key: "name" | "vtep" | "mac", value: string) =>
    serving
      .filter((record) => record[key] === value)
      .sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0]!;

  const problems: string[] = [];
  const silent = ({ id, withdrawn }: NodeRecord) => withdrawn || lapsed.has(id);
  const by = (owner: string) => records.find((record) => record.owner === owner)!;
  for (const { subnet, kept, refused } of ring.overlaps) {
    const [a, b] = [by(kept), by(refused)];
    if (silent(b)) continue;
    problems.push(
      `${subnet} was granted twice: ${a.name} (${a.id}) keeps it, ${b.name} (${b.id}) must not use it`,
    );
  }
  for (const record of records.filter((one) => !silent(one))) {
    const { id, name, mesh, vtep, vni } = record;
    if (vni !== own.vni) {
      problems.push(
        `${name} (${id}) at ${mesh} uses VNI ${vni}, this node ${own.vni}: it is left out`,
      );
    } else if (familyOf(record) !== family) {
      problems.push(
        `${name} (${id}) at ${mesh} has an IPv${familyOf(record)} underlay (${vtep}), this node an IPv${family} one: it is left out`,
      );
    } else if (wrong(record)) {
      problems.push(`${name} (${id}) at ${mesh} ${wrong(record)}: it is left out`);
    } else {
      for (const [what, key, remedy] of [
        ["name", "name", "start one of them with another --name"],
        ["underlay address", "vtep", "start each with an --underlay address of its own"],
        ["MAC", "mac", "start one of them with a new --state directory"],
      ] as const) {
        const kept = first(key, record[key]);
        if (kept === record) continue;
        problems.push(
          `two nodes claim the ${what} ${record[key]}: ${kept.name} (${kept.id}) keeps it, ${name} (${id}) at ${mesh} is left out: ${remedy}`,
        );
        break;
      }
    }
  }
  const members = serving.filter(
    (record) =>
      (["name", "vtep", "mac"] as const).every((key) => first(key, record[key]) === record) &&
      record.leases.every((proof) => ring.holders.get(subnetOf(proof)) === record.owner),
  );
  return { members, holders: ring.holders, problems };
}
