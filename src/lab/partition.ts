/** Partitions between the hosts of a lab: frames that the bridges drop. */
import type { Lab } from "./lab.js";
import type { Host } from "./namespace.js";

/**
 * `everything` drops all frames, `packets` only VXLAN, `sessions` only the TCP connections of
 * sessions.
 */
export type PartitionKind = "everything" | "packets" | "sessions";
/** A pair of hosts, in one direction. */
export type HostPair = readonly [from: Host, to: Host];

const RULES = `
table bridge partition {
  set everything { type ifname . ifname; }
  set packets { type ifname . ifname; }
  set sessions { type ifname . ifname; }
  chain forward {
    type filter hook forward priority 0
    iifname . oifname @everything drop
    iifname . oifname @packets udp dport 4789 drop
    iifname . oifname @sessions tcp dport 6783 drop
    iifname . oifname @sessions tcp sport 6783 drop
  }
}
`;

/** Drops frames silently, as a firewall or a dead switch does. */
export class Partition {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  static async build(lab: Lab): Promise<Partition> {
    await lab.wire.exec(["nft", "-f", "-"], { input: RULES });
    return new Partition(lab);
  }

  cut(pairs: readonly HostPair[], kind: PartitionKind = "everything"): Promise<void> {
    return this.#change("add", pairs, kind);
  }

  heal(pairs: readonly HostPair[], kind: PartitionKind = "everything"): Promise<void> {
    return this.#change("delete", pairs, kind);
  }

  async #change(
    verb: "add" | "delete",
    pairs: readonly HostPair[],
    kind: PartitionKind,
  ): Promise<void> {
    const elements = pairs.map(([from, to]) => `"${from.name}" . "${to.name}"`).join(", ");
    const input = `${verb} element bridge partition ${kind} { ${elements} }\n`;
    await this.#lab.wire.exec(["nft", "-f", "-"], { input });
  }
}

export const bothWays = (a: Host, b: Host): HostPair[] => [
  [a, b],
  [b, a],
];

/** All pairs of hosts that are not adjacent in this list: with them cut, the hosts form a line. */
export const notNeighbours = (hosts: readonly Host[]): HostPair[] =>
  hosts.flatMap((from, i) =>
    hosts.filter((_, j) => Math.abs(i - j) > 1).map((to): HostPair => [from, to]),
  );
