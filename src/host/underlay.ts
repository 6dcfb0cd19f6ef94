/** The underlay: the address at which peers reach this node, and the interface that has it. */
import {
  type Address,
  contains,
  type Family,
  formatAddress,
  isLoopback,
  type Prefix,
  parseAddress,
  prefixOf,
} from "../address.js";
import { WeftError } from "../error.js";
import { ask } from "./ip.js";
import { mostFrequent, routeMtu, routesTo, sourcesTo } from "./route.js";

export interface UnderlayInterface {
  readonly address: Address;
  /** The interface that has the address. */
  readonly device: string;
  /** The subnet of the address on that interface. */
  readonly prefix: Prefix;
  /**
   * The largest packet to a peer, in bytes. Undefined when the address is on the loopback device and
   * no route leads to a peer.
   */
  readonly mtu: number | undefined;
}

export interface UnderlayQuery {
  /** The address to use. */
  readonly address?: Address | undefined;
  /** Families to choose from if there is no `address`; the first is preferred. */
  readonly families?: readonly Family[];
  /** Addresses of peers, as far as known. */
  readonly peers?: readonly Address[];
  /** Whether one of `peers` may be this host, as in a list to join that is the same on all hosts. */
  readonly mayNameThisHost?: boolean;
}

interface Interface {
  readonly ifname: string;
  readonly mtu: number;
  readonly addr_info: readonly InterfaceAddress[];
}

/** An address of an interface. Only IPv6 addresses have the flags. */
interface InterfaceAddress {
  readonly local?: string;
  readonly prefixlen: number;
  /** Duplicate address detection still runs (RFC 4862). */
  readonly tentative?: true;
  /** Duplicate address detection found it on another host. */
  readonly dadfailed?: true;
  /** Linux replaces it after some hours, for privacy (RFC 8981). */
  readonly temporary?: true;
}

/** Bytes of the largest IP packet without extensions; the loopback device has an MTU one byte larger. */
const MAX_PACKET = 65_535;
/** The smallest underlay MTU in bytes: every host accepts a packet of that size (RFC 791, 3.2). */
const MIN_PACKET = 576;
/** The loopback device, whose MTU does not bound packets to other hosts. */
const LOOPBACK_DEVICE = "lo";
/**
 * Addresses to which only a default route leads: reserved (RFC 1112, section 4) and unassigned.
 * Nothing is sent to them.
 */
const ANYWHERE = { 4: parseAddress("240.0.0.1"), 6: parseAddress("3fff:ffff::1") } as const;

/**
 * Finds this host's underlay. Without an address to use, it is the source address of the routes to
 * most of the peers, or of the default route if no peer is known. A peer whose endpoint is an address
 * of this host does not count.
 * @throws WeftError UNDERLAY when there is no such address
 */
export async function findUnderlay(wanted: UnderlayQuery = {}): Promise<UnderlayInterface> {
  const { peers = [] } = wanted;
  const interfaces = await ask<Interface>("address", "show");
  const address = wanted.address ?? lasting(interfaces, await preferred(wanted));
  const local = formatAddress(address);
  for (const { ifname, mtu, addr_info } of interfaces) {
    const found = addr_info.find((info) => info.local === local);
    if (!found) continue;
    if (found.tentative || found.dadfailed) throw notUsable(local, ifname, found);
    const isOnWay = ifname !== LOOPBACK_DEVICE || isLoopback(address);
    const towards = await mtuTowards(peers, address, interfaces);
    const largest = towards ?? (isOnWay ? mtu : undefined);
    return {
      address,
      device: ifname,
      prefix: prefixOf(address, found.prefixlen),
      mtu: largest && Math.min(Math.max(largest, MIN_PACKET), MAX_PACKET),
    };
  }
  throw new WeftError(
    "UNDERLAY",
    `no interface of this host has the underlay address ${local}`,
    "pass one that it has with --underlay; see them with: ip address",
  );
}

async function preferred(wanted: UnderlayQuery): Promise<Address> {
  const { families = [4, 6], peers = [], mayNameThisHost = false } = wanted;
  const sources = await sourcesTo(peers.filter(({ family }) => families.includes(family)));
  const towards = mostFrequent(sources.filter(({ isOwn }) => !isOwn));
  if (towards) return towards;
  const [own] = mayNameThisHost ? sources : [];
  const [anywhere] = own ? [own] : await sourcesTo(families.map((family) => ANYWHERE[family]));
  if (!anywhere) throw noDefault();
  return anywhere.address;
}

/**
 * The largest packet, in bytes, that may be sent to some peer, or by the default route if no peer is
 * known. The smaller MTUs of other peers are discovered while packets flow.
 */
async function mtuTowards(
  peers: readonly Address[],
  source: Address,
  interfaces: readonly Interface[],
): Promise<number | undefined> {
  const mtus = new Map(interfaces.map(({ ifname, mtu }) => [ifname, mtu]));
  mtus.delete(LOOPBACK_DEVICE);
  for (const some of [peers, [ANYWHERE[source.family]]]) {
    const found = (await routesTo(some, source)).flatMap((route) => routeMtu(route, mtus) ?? []);
    if (found.length > 0) return Math.max(...found);
  }
  return undefined;
}

/** Replaces a temporary address, which Linux prefers, by a lasting one of the same subnet. */
function lasting(interfaces: readonly Interface[], address: Address): Address {
  const carried = interfaces.flatMap(({ addr_info }) => addr_info);
  const chosen = carried.find(({ local }) => local === formatAddress(address));
  if (!chosen?.temporary) return address;
  const subnet = prefixOf(address, chosen.prefixlen);
  const stays = carried
    .filter(({ local, temporary }) => local?.includes(":") && !temporary)
    .map(({ local }) => parseAddress(local!))
    .find((one) => contains(subnet, one));
  return stays ?? address;
}

const noDefault = () =>
  new WeftError(
    "UNDERLAY",
    "this host has neither a route to a known peer nor a default route to take its underlay address from",
    "pass the address peers reach it at with --underlay",
  );

const notUsable = (local: string, device: string, { dadfailed }: InterfaceAddress) =>
  dadfailed
    ? new WeftError(
        "UNDERLAY",
        `the underlay address ${local} of ${device} belongs to another host as well`,
        "give each host an address of its own",
      )
    : new WeftError(
        "UNDERLAY",
        `the underlay address ${local} of ${device} cannot be used yet: Linux still asks whether another host has it`,
        "start again in a few seconds",
      );
