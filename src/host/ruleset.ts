/**
 * The nftables table of an agent, in the JSON of `nft -j` (libnftables-json(5)). docs/through-core.md
 * says why each rule is there.
 */
import { type Address, type Family, formatAddress, type Prefix } from "../address.js";
import type { HostPort } from "../nat/host-rules.js";
import { PROTOCOLS, protocolName } from "../protocol.js";
import { TABLE } from "./through-core.js";

/** The translations of this host's kernel. */
export interface HostTranslation {
  /** Name of the overlay device. */
  readonly device: string;
  readonly network: readonly Prefix[];
  /** The leases of this node. */
  readonly leases: readonly Prefix[];
  /** The addresses of the overlay device; no port is published on them. */
  readonly addresses: readonly Address[];
  /** Ports published on the underlay addresses of this host. */
  readonly ports: readonly HostPort[];
  /** Whether workloads reach the world by this host's address. */
  readonly masqueradeOutside: boolean;
  /** Names of the workload interfaces; undefined without `--through-core`. */
  readonly interfaces: readonly string[] | undefined;
}

/** The table is `inet weft`: one for both families of IP. */
const ID = { family: "inet", name: "weft" };
const FAMILIES = [4, 6] as const;
const LOOPBACK = { 4: prefixOf("127.0.0.0", 8), 6: "::1" } as const;
const MULTICAST = { 4: prefixOf("224.0.0.0", 4), 6: prefixOf("ff00::", 8) } as const;
/** The connection tracking zone of packets between a workload and the device. */
const ZONE = TABLE;

/** Commands that remove the table if it is there. */
export const removal = (): object[] => [{ add: { table: ID } }, { delete: { table: ID } }];

/**
 * Commands that replace the table as a whole.
 * @param owner name of an empty chain that marks the table as this agent's
 */
export function replacement(owner: string, translation: HostTranslation): object[] {
  const { interfaces, ports, masqueradeOutside } = translation;
  return [
    ...removal(),
    { add: { table: ID } },
    chain(owner),
    ...(interfaces ? zones(interfaces, translation) : []),
    ...(ports.length > 0 ? published(translation) : []),
    chain("postrouting", { type: "nat", hook: "postrouting", prio: 100 }),
    ...(ports.length > 0 ? returning(translation) : []),
    ...(masqueradeOutside ? outside(translation) : []),
  ];
}

/** Whether the kernel has something to translate, or to keep apart. */
export const isNeeded = ({ interfaces, ports, masqueradeOutside }: HostTranslation): boolean =>
  interfaces !== undefined || ports.length > 0 || masqueradeOutside;

/**
 * A packet through the core passes connection tracking twice: between workload and device, and between
 * device and the rest of the world. Each passage has its own zone. In one zone the second passage would
 * belong to the connection of the first, for which no translation was chosen.
 */
function zones(
  interfaces: readonly string[],
  { device, leases, ports }: HostTranslation,
): object[] {
  const apart = (...matches: object[]) =>
    rule("zones", ...matches, { mangle: { key: { ct: { key: "zone" } }, value: ZONE } });
  const fromWorkload = match("==", meta("iifname"), oneOf(interfaces));
  const fromDevice = match("==", meta("iifname"), device);
  const lines = ofFamilies(leases).map(({ family, own }) =>
    apart(fromDevice, IS_FOR_OTHERS, match("==", field(IP[family], "daddr"), prefixes(own))),
  );
  if (interfaces.length > 0) {
    lines.push(apart(fromWorkload, IS_FOR_OTHERS));
    // A workload that connects to a published port of its own host, and its replies, come from both sides.
    for (const [protocol, numbers] of numbersOf(ports)) {
      const isPublished = match("==", field(protocol, "dport"), oneOf(numbers));
      lines.push(apart(fromWorkload, IS_FOR_THIS_HOST, isPublished));
    }
  }
  return [chain("zones", { type: "filter", hook: "prerouting", prio: -300 }), ...lines];
}

/** Ports are published at all addresses of this host but those of loopback and overlay. */
function published({ device, addresses, ports }: HostTranslation): object[] {
  const jump = { jump: { target: "ports" } };
  const excluded = FAMILIES.map((family) => {
    const own = addresses.filter((it) => it.family === family).map(formatAddress);
    const isExcluded = match("==", field(IP[family], "daddr"), { set: [...own, LOOPBACK[family]] });
    return rule("ports", isExcluded, { return: null });
  });
  return [
    chain("ports"),
    ...excluded,
    ...ports.map(translated),
    chain("prerouting", { type: "nat", hook: "prerouting", prio: -100 }),
    rule("prerouting", match("!=", meta("iifname"), device), IS_FOR_THIS_HOST, jump),
    chain("output", { type: "nat", hook: "output", prio: -100 }),
    rule("output", IS_FOR_THIS_HOST, jump),
  ];
}

/** A reply to a program of this host may have the number of a published port, so TCP has to open a connection. */
function translated({ protocol, family, port, to }: HostPort): object {
  const name = protocolName(protocol)!;
  const opens = protocol === PROTOCOLS.tcp ? [OPENS_CONNECTION] : [];
  const dnat = { family: IP[family], addr: formatAddress(to.address), port: to.port };
  return rule("ports", isOf(family), ...opens, match("==", field(name, "dport"), port), { dnat });
}

/** The workload of another node gets this node's address as the source, so that its replies come back here. */
const returning = ({ device, leases }: HostTranslation): object[] =>
  FAMILIES.map((family) => {
    const own = leases.filter((it) => it.family === family);
    const isElsewhere = match("!=", field(IP[family], "daddr"), prefixes(own));
    return rule(
      "postrouting",
      match("==", meta("oifname"), device),
      match("in", { ct: { key: "status" } }, "dnat"),
      own.length > 0 ? isElsewhere : isOf(family),
      MASQUERADE,
    );
  });

const outside = ({ device, leases, network }: HostTranslation): object[] =>
  ofFamilies(leases).map(({ family, own }) => {
    const overlay = network.filter((it) => it.family === family).map(prefixIn);
    return rule(
      "postrouting",
      match("!=", meta("oifname"), device),
      match("==", field(IP[family], "saddr"), prefixes(own)),
      match("!=", field(IP[family], "daddr"), { set: [...overlay, MULTICAST[family]] }),
      MASQUERADE,
    );
  });

// ---- the words of nft

type Value = object | string | number;

const IP = { 4: "ip", 6: "ip6" } as const;

const chain = (name: string, base: object = {}): object => ({
  add: { chain: { family: ID.family, table: ID.name, name, ...base } },
});

const rule = (name: string, ...expr: object[]): object => ({
  add: { rule: { family: ID.family, table: ID.name, chain: name, expr } },
});

const match = (op: string, left: object, right: Value): object => ({ match: { op, left, right } });
const meta = (key: string): object => ({ meta: { key } });
const field = (protocol: string, name: string): object => ({
  payload: { protocol, field: name },
});
const oneOf = (values: readonly (string | number)[]): object => ({ set: values });
const prefixes = (all: readonly Prefix[]): object => ({ set: all.map(prefixIn) });
const prefixIn = ({ family, base, length }: Prefix): object =>
  prefixOf(formatAddress({ family, value: base }), length);

function prefixOf(addr: string, len: number): object {
  return { prefix: { addr, len } };
}

const isOf = (family: Family): object =>
  match("==", meta("nfproto"), family === 4 ? "ipv4" : "ipv6");

const DESTINATION_TYPE = { fib: { result: "type", flags: ["daddr"] } };
const IS_FOR_THIS_HOST = match("==", DESTINATION_TYPE, "local");
const IS_FOR_OTHERS = match("!=", DESTINATION_TYPE, "local");
const OPENS_CONNECTION = match("==", { "&": [field("tcp", "flags"), ["syn", "ack"]] }, "syn");
/** Ports are chosen at random, since two packets at once may otherwise choose the same. */
const MASQUERADE = { masquerade: { flags: "fully-random" } };

/** The prefixes of each family that has some. */
const ofFamilies = (all: readonly Prefix[]): { family: Family; own: Prefix[] }[] =>
  FAMILIES.map((family) => ({ family, own: all.filter((it) => it.family === family) })).filter(
    ({ own }) => own.length > 0,
  );

/** The numbers of published ports by the name of their protocol. */
function numbersOf(ports: readonly HostPort[]): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const { protocol, port } of ports) {
    const name = protocolName(protocol)!;
    numbers.set(name, [...(numbers.get(name) ?? []).filter((it) => it !== port), port]);
  }
  return numbers;
}
