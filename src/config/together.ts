/** Checks of settings against one another, after each was checked by itself. */
import {
  type Address,
  bits,
  byBase,
  contains,
  covers,
  formatAddress,
  formatPrefix,
  overlaps,
  type Prefix,
  parseEndpoint,
  parsePrefix,
} from "../address.js";
import type { Peer } from "../peer.js";
import type { Config } from "./config.js";
import { bad } from "./read.js";
import { LONGEST_LEASE, type Setting } from "./settings.js";

type Where = (setting: Setting) => string;

export function checkTogether(config: Config, where: Where): void {
  if (foundsNetwork(config)) leasesFit(config, where);
  peersDiffer(config, where);
  subnetsApart(config, where);
  interfacesMatter(config, where);
  if (config.underlay) underlayFits(config, whole(config.underlay));
}

function interfacesMatter({ throughCore, workloadInterfaces }: Config, where: Where): void {
  if (throughCore || workloadInterfaces.length === 0) return;
  throw bad(
    `${where("workload-interfaces")}: it has no effect without --through-core`,
    "give --through-core as well, or leave it out",
  );
}

/**
 * Checks the underlay against the other settings.
 * @param underlay the subnet of the underlay interface, or one address
 */
export function underlayFits(config: Config, underlay: Prefix): void {
  underlayOutside(config, underlay);
  for (const { name, endpoint } of config.staticPeers) {
    const { family } = parseEndpoint(endpoint).address;
    if (family === underlay.family) continue;
    throw bad(
      `the static peer ${name} is at the IPv${family} endpoint ${endpoint}, and the underlay is IPv${underlay.family}`,
      `give the peer an IPv${underlay.family} endpoint, or choose an IPv${family} --underlay`,
    );
  }
}

/**
 * Checks that the overlay has no address of the underlay, on which its own packets travel.
 * @param underlay the subnet of the underlay interface, or one address
 */
export function underlayOutside(
  config: Pick<Config, "network" | "networkGiven" | "join" | "staticPeers">,
  underlay: Prefix,
): void {
  const networks = foundedNetwork(config);
  const subnets = config.staticPeers.flatMap((peer) => peer.leases.map(parsePrefix));
  const taken = [...networks, ...subnets].find((prefix) => overlaps(prefix, underlay));
  if (!taken) return;
  throw bad(
    `${formatPrefix(taken)} overlaps the underlay ${formatPrefix(underlay)}, so packets between the hosts would go into the overlay`,
    "choose a range without hosts, with --network or in the static peer's subnets",
  );
}

/** Whether this node defines the network. A joiner that names none learns it; the default does not apply. */
const foundsNetwork = ({ join, networkGiven }: Pick<Config, "join" | "networkGiven">): boolean =>
  networkGiven || join.length === 0;

/** The network that this node defines; empty for a joiner that learns it. */
export const foundedNetwork = (
  config: Pick<Config, "network" | "networkGiven" | "join">,
): readonly Prefix[] => (foundsNetwork(config) ? config.network : []);

function leasesFit(config: Config, where: Where): void {
  const { network, networkGiven, subnetLen, subnetLen6 } = config;
  for (const prefix of network) {
    const [setting, length] =
      prefix.family === 4
        ? (["subnet-len", subnetLen] as const)
        : (["subnet-len-6", subnetLen6] as const);
    if (length > prefix.length) continue;
    const longest = LONGEST_LEASE[prefix.family];
    throw bad(
      `${where(networkGiven ? "network" : setting)}: ${formatPrefix(prefix)} has no room for two leases of /${length}`,
      prefix.length < longest
        ? `give a wider network, or a --${setting} from ${prefix.length + 1} to ${longest}`
        : "give a wider network",
    );
  }
}

function peersDiffer({ name, staticPeers }: Config, where: Where): void {
  const seen = new Set([name]);
  for (const peer of staticPeers) {
    for (const identifier of [peer.name, peer.endpoint, peer.mac]) {
      if (seen.has(identifier)) {
        throw bad(
          `${where("static-peer")}: ${identifier} belongs to more than one node`,
          "give each node its own name, endpoint and MAC address",
        );
      }
      seen.add(identifier);
    }
  }
}

function subnetsApart(config: Config, where: Where): void {
  const { network, staticPeers } = config;
  const families = foundedNetwork(config).map(({ family }) => family);
  const endpoints = staticPeers.map((peer) => parseEndpoint(peer.endpoint).address);
  const subnets = staticPeers.flatMap(subnetsOf).sort((a, b) => byBase(a.prefix, b.prefix));
  for (const [i, { peer, prefix }] of subnets.entries()) {
    // Two prefixes are disjoint or nested, so in sorted order any overlap is between neighbours.
    const before = subnets[i - 1];
    if (before && overlaps(before.prefix, prefix)) {
      throw bad(
        `${where("static-peer")}: ${formatPrefix(prefix)} of ${peer.name} overlaps ${formatPrefix(before.prefix)} of ${before.peer.name}`,
        "give each static peer subnets of its own",
      );
    }
    if (families.length > 0 && !families.includes(prefix.family)) {
      throw bad(
        `${where("static-peer")}: ${formatPrefix(prefix)} of ${peer.name} is IPv${prefix.family}, and the cluster network has no IPv${prefix.family}`,
        `add an IPv${prefix.family} prefix to --network, or leave the subnet out`,
      );
    }
    const swallowed = endpoints.find((endpoint) => contains(prefix, endpoint));
    if (swallowed) {
      throw bad(
        `${where("static-peer")}: ${formatPrefix(prefix)} of ${peer.name} holds the endpoint address ${formatAddress(swallowed)}`,
        "subnets are inside the overlay, endpoints outside it",
      );
    }
    if (network.some((whole) => covers(prefix, whole))) {
      throw bad(
        `${where("static-peer")}: ${formatPrefix(prefix)} of ${peer.name} covers the whole cluster network`,
        "give the peer a part of it, like one lease",
      );
    }
  }
}

const subnetsOf = (peer: Peer) => peer.leases.map((text) => ({ peer, prefix: parsePrefix(text) }));

const whole = ({ family, value }: Address): Prefix => ({
  family,
  base: value,
  length: bits(family),
});
