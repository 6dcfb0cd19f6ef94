/** The underlay: the address peers reach this node at, and the interface that carries it. */
import { type Address, formatAddress, type Prefix, parseAddress, prefixOf } from "../address.js";
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
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number }[];
}

/** The most an IPv4 packet can be; loopback claims one byte more. */
const MAX_IPV4_PACKET = 65_535;
/** Reserved (RFC 1112, section 4), so only a default route leads there. Nothing is sent to it. */
const ANYWHERE = "240.0.0.1";

/**
 * @param given the address to use; without it, the source address of the default route
 * @throws WeftError UNDERLAY when there is no such address
 */
export async function findUnderlay(given?: Address): Promise<Underlay> {
  const address = given ?? (await defaultAddress());
  const local = formatAddress(address);
  for (const { ifname, mtu, addr_info } of await ask<Interface>("address", "show")) {
    const found = addr_info.find((info) => info.local === local);
    if (!found) continue;
    return {
      address,
      device: ifname,
      prefix: prefixOf(address, found.prefixlen),
      mtu: Math.min(mtu, MAX_IPV4_PACKET),
    };
  }
  throw new WeftError(
    "UNDERLAY",
    `no interface of this host carries the underlay address ${local}`,
    "pass one that it has with --underlay; see them with: ip -4 address",
  );
}

async function defaultAddress(): Promise<Address> {
  const [route] = await ask<{ prefsrc?: string }>("route", "get", ANYWHERE).catch(() => []);
  if (route?.prefsrc) return parseAddress(route.prefsrc);
  throw new WeftError(
    "UNDERLAY",
    "this host has no default route to take its underlay address from",
    "pass the address peers reach it at with --underlay",
  );
}
