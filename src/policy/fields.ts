/** What a rule says of protocol and ports, as the core has it: without "not". */
import type { Range } from "../compile/acl.js";
import type { Rule } from "./rule.js";

export interface Fields {
  /** Any if there is none. */
  readonly protocols: readonly number[];
  readonly sourcePorts: readonly Range[];
  readonly destinationPorts: readonly Range[];
}

const PROTOCOLS: readonly Range[] = [{ from: 0, to: 255 }];
const PORTS: readonly Range[] = [{ from: 0, to: 65_535 }];

/** Nothing: no packet can meet this rule. */
export function fieldsOf(rule: Rule): Fields | undefined {
  const protocols = within(PROTOCOLS, only(rule.protocol), only(rule.notProtocol) ?? []);
  const sourcePorts = within(PORTS, rule.sourcePorts, rule.notSourcePorts);
  const destinationPorts = within(PORTS, rule.ports, rule.notPorts);
  if (!protocols || !sourcePorts || !destinationPorts) return undefined;
  return { protocols: protocols.flatMap(numbersOf), sourcePorts, destinationPorts };
}

const only = (value: number | undefined): Range[] | undefined =>
  value === undefined ? undefined : [{ from: value, to: value }];

/** No ranges: any value will do. Nothing: none will. */
function within(
  all: readonly Range[],
  some: readonly Range[] | undefined,
  not: readonly Range[],
): readonly Range[] | undefined {
  if (not.length === 0) return some ?? [];
  const left = not.reduce(without, some ?? all);
  return left.length > 0 ? left : undefined;
}

const without = (ranges: readonly Range[], { from, to }: Range): readonly Range[] =>
  ranges.flatMap((range) =>
    [
      { from: range.from, to: Math.min(range.to, from - 1) },
      { from: Math.max(range.from, to + 1), to: range.to },
    ].filter((part) => part.from <= part.to),
  );

const numbersOf = ({ from, to }: Range): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
