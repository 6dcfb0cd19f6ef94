/** The interfaces of workloads: those of this host whose names match the configured patterns. */
import { ask } from "./ip.js";

interface ShownLink {
  readonly ifname: string;
  /** The device that this one is a port of: a bridge, bond or VRF. */
  readonly master?: string;
}

export interface WorkloadInterfaces {
  /** Interfaces that packets of workloads come from. */
  readonly names: readonly string[];
  /** Matching ports of bridges and the like: their packets come from `master`. */
  readonly ports: readonly { readonly name: string; readonly master: string }[];
}

/**
 * @param patterns names of interfaces, in which `*` stands for any characters and `?` for one
 * @param excluded names that never count, whatever matches: the overlay device, the underlay's
 * @throws WeftError IP
 */
export async function findWorkloadInterfaces(
  patterns: readonly string[],
  excluded: readonly string[],
): Promise<WorkloadInterfaces> {
  if (patterns.length === 0) return { names: [], ports: [] };
  return workloadsAmong(await ask<ShownLink>("link", "show"), patterns, excluded);
}

export function workloadsAmong(
  links: readonly ShownLink[],
  patterns: readonly string[],
  excluded: readonly string[],
): WorkloadInterfaces {
  const expressions = patterns.map(expressionOf);
  const matching = links.filter(
    ({ ifname }) =>
      ifname !== "lo" && !excluded.includes(ifname) && expressions.some((it) => it.test(ifname)),
  );
  return {
    names: matching.filter(({ master }) => master === undefined).map(({ ifname }) => ifname),
    ports: matching.flatMap(({ ifname: name, master }) => (master ? [{ name, master }] : [])),
  };
}

/** Patterns have no other special characters than `*`, `?`, `.` and `-` (config/read.ts). */
const expressionOf = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".")}$`);
