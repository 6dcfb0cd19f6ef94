/** The underlay: the address peers reach this node at, and the interface that carries it. */
import {
  type Address,
  contains,
  type Family,
  formatAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixOf,
} from "../address.js";
import { WeftError } from "../error.js";
import { ask } from "./ip.js";

export interface Underlay {
  readonly address: Address;
  /** The interface that carries the address. */
  readonly device: string;
  /** The subnet the interface is in. */
  readonly prefix: Prefix;
  /** MTU of the interface, in bytes. */
  readonly mtu: number;
}

interface Interface {
  readonly ifname: string;
  readonly mtu: number;
  readonly addr_info: readonly Carried[];
}

/** An address that an interface carries. Only IPv6 ones have the marks. */
interface Carried {
  readonly local?: string;
  readonly prefixlen: number;
  /** It is not known yet whether another host has it (RFC 4862). */
  readonly tentative?: true;
  /** Another host has it. */
  readonly dadfailed?: true;
  /** It is given up after some hours, for the user's privacy (RFC 8981). */
  readonly temporary?: true;
}

const LINK_LOCAL = parsePrefix("fe80::/10");
/** The most a packet without extensions can be; loopback claims one byte more. */
const MAX_PACKET = 65_535;
/**
 * Reserved (RFC 1112, section 4), and not assigned to anybody, so only a default
 * route leads there. Nothing is sent to them.
 */
const ANYWHERE = { 4: "240.0.0.1", 6: "3fff:ffff::1" } as const;

/**
 * @param given the address to use; without it, the source address of the default
 *   route: IPv4's, or else IPv6's
 * @throws WeftError UNDERLAY when there is no such address
 */
export async function findUnderlay(given?: Address): Promise<Underlay> {
  const interfaces = await ask<Interface>("address", "show");
  const chosen = given ?? (await defaultAddress(4)) ?? (await defaultAddress(6));
  if (!chosen) throw noDefault();
  const address = given ?? lasting(interfaces, chosen);
  const local = formatAddress(address);
  for (const { ifname, mtu, addr_info } of interfaces) {
    const found = addr_info.find((info) => info.local === local);
    if (!found) continue;
    if (found.tentative || found.dadfailed) throw notUsable(local, ifname, found);
    return {
      address,
      device: ifname,
      prefix: prefixOf(address, found.prefixlen),
      mtu: Math.min(mtu, MAX_PACKET),
    };
  }
  throw new WeftError(
    "UNDERLAY",
    `no interface of this host carries the underlay address ${local}`,
    "pass one that it has with --underlay; see them with: ip address",
  );
}

async function defaultAddress(family: Family): Promise<Address | undefined> {
  const asked = ask<{ prefsrc?: string }>(`-${family}`, "route", "get", ANYWHERE[family]);
  const [route] = await asked.catch(() => []);
  const address = route?.prefsrc === undefined ? undefined : parseAddress(route.prefsrc);
  return address && contains(LINK_LOCAL, address) ? undefined : address;
}

/** Linux prefers a temporary address; peers need the one of the same subnet that stays. */
function lasting(interfaces: readonly Interface[], address: Address): Address {
  const carried = interfaces.flatMap(({ addr_info }) => addr_info);
  const preferred = carried.find(({ local }) => local === formatAddress(address));
  if (!preferred?.temporary) return address;
  const subnet = prefixOf(address, preferred.prefixlen);
  const stays = carried
    .filter(({ local, temporary }) => local?.includes(":") && !temporary)
    .map(({ local }) => parseAddress(local!))
    .find((one) => contains(subnet, one));
  return stays ?? address;
}

const noDefault = () =>
  new WeftError(
    "UNDERLAY",
    "this host has no default route to take its underlay address from",
    "pass the address peers reach it at with --underlay",
  );

const notUsable = (local: string, device: string, { dadfailed }: Carried) =>
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
