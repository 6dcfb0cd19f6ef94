/** A rule of the policy document: fields that a packet must match, and an action. */
import type { PortRange } from "../compile/acl-rule.js";
import type { Entry } from "../config/entry.js";
import { ICMPS, WITH_PORTS } from "../protocol.js";
import { protocolNumber, readIcmp, readPorts } from "./read.js";
import { type Groups, readSelectors, type Selector } from "./selector.js";

/** `egress` rules apply at the node that a packet leaves, `ingress` rules where it arrives. */
export const DIRECTIONS = ["egress", "ingress"] as const;
export type Direction = (typeof DIRECTIONS)[number];

export const ACTIONS = ["allow", "deny", "pass", "log"] as const;
export type Action = (typeof ACTIONS)[number];

/** A packet matches a rule when it matches all of its fields. */
export interface Rule {
  /** Counted from the line of its policy. */
  readonly line: number;
  /** The text of the rule without its position. */
  readonly words: string;
  readonly action: Action;
  readonly protocol?: number;
  readonly notProtocol?: number;
  /** The other end: `to` of egress, `from` of ingress. */
  readonly peers?: readonly Selector[];
  readonly notPeers: readonly Selector[];
  readonly sourcePorts?: readonly PortRange[];
  readonly notSourcePorts: readonly PortRange[];
  /** Destination ports; for ICMP, type and code: `type << 8 | code`. */
  readonly ports?: readonly PortRange[];
  readonly notPorts: readonly PortRange[];
}

const KEYS = [
  "action",
  "protocol",
  "notProtocol",
  "sourcePorts",
  "notSourcePorts",
  "ports",
  "notPorts",
  "icmp",
  "notIcmp",
] as const;

const ENDS = {
  egress: { peers: "to", notPeers: "notTo" },
  ingress: { peers: "from", notPeers: "notFrom" },
} as const;

/** The key to use in place of one that belongs to the other direction. */
const WRONG_END = {
  egress: endElsewhere("egress", "from", "to"),
  ingress: endElsewhere("ingress", "to", "from"),
} as const;

function endElsewhere(direction: Direction, wrong: string, right: string) {
  const say = (key: string, instead: string) =>
    [
      `"${key}" has no meaning in ${direction}: there, the policy's own endpoints stand at that end`,
      `write "${instead}" for the other end`,
    ] as const;
  const not = (key: string) => `not${key[0]!.toUpperCase()}${key.slice(1)}`;
  return { [wrong]: say(wrong, right), [not(wrong)]: say(not(wrong), not(right)) };
}

/** @param from the line of its policy */
export function readRule(entry: Entry, direction: Direction, groups: Groups, from: number): Rule {
  const { peers, notPeers } = ENDS[direction];
  const { optional, required } = entry.fields([...KEYS, peers, notPeers], WRONG_END[direction]);
  const protocol = optional("protocol")?.read(protocolNumber);
  const notProtocol = optional("notProtocol")?.read(protocolNumber);
  const portsIn = (key: "ports" | "notPorts" | "sourcePorts" | "notSourcePorts") => {
    const ports = optional(key);
    if (ports) needs(ports, protocol, WITH_PORTS, "tcp, udp or sctp");
    return ports && readPorts(ports);
  };
  const icmpIn = (key: "icmp" | "notIcmp") => {
    const icmp = optional(key);
    if (icmp) needs(icmp, protocol, ICMPS, "icmp or icmpv6");
    return icmp && readIcmp(icmp);
  };
  const far = optional(peers);
  const sourcePorts = portsIn("sourcePorts");
  const [icmp, notIcmp] = [icmpIn("icmp"), icmpIn("notIcmp")];
  const ports = portsIn("ports") ?? icmp;
  return {
    line: entry.line - from,
    words: entry.words,
    action: required("action").word(...ACTIONS),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(far && { peers: readSelectors(far, groups) }),
    notPeers: optional(notPeers) ? readSelectors(required(notPeers), groups) : [],
    ...(sourcePorts && { sourcePorts }),
    notSourcePorts: portsIn("notSourcePorts") ?? [],
    ...(ports && { ports }),
    notPorts: portsIn("notPorts") ?? notIcmp ?? [],
  };
}

function needs(
  entry: Entry,
  protocol: number | undefined,
  known: readonly number[],
  which: string,
): void {
  if (protocol !== undefined && known.includes(protocol)) return;
  throw entry.bad("this rule's protocol has no such field", `give it protocol: ${which}`);
}
