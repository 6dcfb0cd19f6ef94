/** The protocols and ports of a rule as the core stores them: `not` fields are subtracted. */
import { joined, type PortRange } from "../compile/acl-rule.js";
import type { Rule } from "./rule.js";

export interface MatchFields {
  /** Any protocol if the list is empty. */
  readonly protocols: readonly number[];
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
}

const PROTOCOLS: readonly PortRange[] = [{ from: 0, to: 255 }];
const PORTS: readonly PortRange[] = [{ from: 0, to: 65_535 }];

/** Undefined when no packet can match this rule. */
export function fieldsOf(rule: Rule): MatchFields | undefined {
  const protocols = within(PROTOCOLS, only(rule.protocol), only(rule.notProtocol) ?? []);
  const sourcePorts = within(PORTS, rule.sourcePorts, rule.notSourcePorts);
  const destinationPorts = within(PORTS, rule.ports, rule.notPorts);
  if (!protocols || !sourcePorts || !destinationPorts) return undefined;
  return { protocols: protocols.flatMap(numbersOf), sourcePorts, destinationPorts };
}

const only = (value: number | undefined): PortRange[] | undefined =>
  value === undefined ? undefined : [{ from: value, to: value }];

/** An empty list allows any value; undefined allows none. */
function within(
  all: readonly PortRange[],
  some: readonly PortRange[] | undefined,
  not: readonly PortRange[],
): readonly PortRange[] | undefined {
  if (not.length === 0) return some ?? [];
  const left = without(joined(some ?? all), joined(not));
  return left.length > 0 ? left : undefined;
}

/** Removes the ranges `not` from `some`; both are sorted. */
function without(some: readonly PortRange[], not: readonly PortRange[]): PortRange[] {
  const left: PortRange[] = [];
  let next = 0;
  for (const { from, to } of some) {
    while (next < not.length && not[next]!.to < from) next++;
    let begin = from;
    for (let i = next; i < not.length && not[i]!.from <= to; i++) {
      if (not[i]!.from > begin) left.push({ from: begin, to: not[i]!.from - 1 });
      begin = not[i]!.to + 1;
    }
    if (begin <= to) left.push({ from: begin, to });
  }
  return left;
}

const numbersOf = ({ from, to }: PortRange): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
