/**
 * The overlay device as the host sees it: its addresses, MTU and routes.
 *
 * The TUN code of src/io makes the device. It vanishes with that process, and its addresses and
 * routes with it.
 */
import { readFile, writeFile } from "node:fs/promises";
import {
  type Address,
  bits,
  type Family,
  formatAddress,
  formatPrefix,
  type Prefix,
  parsePrefix,
} from "../address.js";
import { attempt, WeftError } from "../error.js";
import { ask, change } from "./ip.js";
import { checkIpv6, LEAST_MTU as LEAST_IPV6_MTU } from "./ipv6.js";

/** Packets in the device's queue; the Linux default for a TUN device is 500, too few for a burst. */
const QUEUE_LENGTH = 1000;

/** The metric that Linux gives a route that is added without one, by family. */
export const DEFAULT_METRIC = { 4: 0, 6: 1024 } as const;

interface ShownDevice {
  readonly mtu: number;
  readonly txqlen?: number;
  readonly flags: readonly string[];
  /** Absent when the device has no IPv6. */
  readonly inet6_addr_gen_mode?: string;
}

interface ShownRoute {
  readonly type?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly metric?: number;
}

/** A route of one device. */
interface DeviceRoute {
  readonly dst: string;
  readonly protocol?: string;
  readonly prefsrc?: string;
}

export interface LinkOptions {
  /** Name of an existing device. */
  readonly device: string;
  /** The node's own overlay addresses: one of each family the cluster network has. */
  readonly addresses: readonly Address[];
  /** The cluster network, which is routed to the device. */
  readonly network: readonly Prefix[];
}

export class Link {
  readonly #options: LinkOptions;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get addresses(): readonly Address[] {
    return this.#options.addresses;
  }

  /**
   * Compares the device with its options and sets what differs: MTU, queue length, the state up, the
   * addresses, and the routes for the cluster network and these prefixes. Removes its other routes.
   * First configuration and repair are the same; the next call retries what failed. A failure in one
   * family or at one route does not stop the others.
   * @param mtu of the overlay, in bytes; it may be another one at each call
   * @returns one sentence for each failure
   */
  async set(beyond: readonly Prefix[], mtu: number): Promise<string[]> {
    const { addresses, network } = this.#options;
    const wanted = [...network, ...beyond];
    const trouble = [...(await attempt(() => this.#setDevice(mtu)))];
    for (const { family } of addresses) {
      trouble.push(...(await attempt(() => this.#setFamily(family, wanted, mtu))));
    }
    const unrouted = wanted.filter(({ family }) => !this.#source(family));
    return [
      ...trouble,
      ...unrouted.map(
        (it) => `${formatPrefix(it)} is not routed: this node has no IPv${it.family} address`,
      ),
    ];
  }

  /**
   * Sets accept_local on the device. ICMP errors from the core have the node's own address as their
   * source, and Linux drops an incoming packet from its own address unless accept_local is set.
   * @returns a warning if it cannot be set; the node works without it
   */
  async acceptOwnSource(): Promise<string[]> {
    const setting = `/proc/sys/net/ipv4/conf/${this.#options.device}/accept_local`;
    try {
      if ((await readFile(setting, "utf8")).trim() !== "1") await writeFile(setting, "1");
      return [];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return [
        `${setting} cannot be set (${code}): programs on this node get no ICMP errors from it`,
      ];
    }
  }

  /**
   * Removes the addresses and the routes. Does nothing if the device is gone already.
   * @param device its name now
   */
  async remove(device = this.#options.device): Promise<void> {
    if (!(await deviceExists(device))) return;
    await change([`link set dev ${device} down`, `address flush dev ${device}`]);
  }

  /**
   * Linux removes IPv6 from a device with an MTU below 1280, so the MTU is set before the settings of
   * IPv6. When a device that is up gets IPv6 again, Linux adds a link-local address at once; so the
   * device is set down first, and the addresses and routes that it loses are set afterwards.
   */
  async #setDevice(mtu: number): Promise<void> {
    const { device } = this.#options;
    const before = await this.#look();
    if (before.mtu !== mtu || before.txqlen !== QUEUE_LENGTH) {
      const takesIpv6 = before.mtu < LEAST_IPV6_MTU && mtu >= LEAST_IPV6_MTU;
      await change([
        ...(takesIpv6 ? [`link set dev ${device} down`] : []),
        `link set dev ${device} mtu ${mtu} txqueuelen ${QUEUE_LENGTH}`,
      ]);
    }
    const { flags, inet6_addr_gen_mode: generated = "none" } = await this.#look();
    await change([
      ...(generated === "none" ? [] : [`link set dev ${device} addrgenmode none`]),
      ...(flags.includes("UP") ? [] : [`link set dev ${device} up`]),
    ]);
  }

  async #look(): Promise<ShownDevice> {
    const { device } = this.#options;
    const [shown] = await ask<ShownDevice>("-details", "link", "show", "dev", device);
    if (shown) return shown;
    throw new WeftError(
      "IP",
      `the device ${device} is gone`,
      "weft creates it again within seconds",
    );
  }

  async #setFamily(family: Family, prefixes: readonly Prefix[], mtu: number): Promise<string[]> {
    const { device, network } = this.#options;
    if (family === 6) checkIpv6(network, mtu, device);
    await change(await this.#missingAddresses(family));
    const trouble: string[] = [];
    const { surplus, missing } = await this.#differing(family, prefixes);
    await change(surplus);
    for (const prefix of missing) trouble.push(...(await attempt(() => this.#route(prefix))));
    return trouble;
  }

  async #missingAddresses(family: Family): Promise<string[]> {
    const { device, addresses } = this.#options;
    const shown = await ask<{ addr_info: { local?: string }[] }>("address", "show", "dev", device);
    const present = shown.flatMap(({ addr_info }) => addr_info.map(({ local }) => local));
    return addresses
      .filter((it) => it.family === family && !present.includes(formatAddress(it)))
      .map((address) => this.#addAddress(address));
  }

  /** The changes to the routes of one family. The kernel's own routes, for addresses and links, stay. */
  async #differing(
    family: Family,
    prefixes: readonly Prefix[],
  ): Promise<{ surplus: string[]; missing: Prefix[] }> {
    const { device } = this.#options;
    const wanted = new Map(
      prefixes.filter((it) => it.family === family).map((it) => [formatPrefix(it), it]),
    );
    const shown = await ask<DeviceRoute>(`-${family}`, "route", "show", "dev", device);
    const source = this.#source(family);
    const present = shown
      .filter(({ protocol }) => protocol !== "kernel")
      .map(({ dst, prefsrc }) => ({ prefix: inFull(family, dst), prefsrc }));
    // When an IPv6 address is removed, Linux removes it from the routes that prefer it as their source, and keeps them.
    const isRight = ({ prefix, prefsrc }: { prefix: string; prefsrc: string | undefined }) =>
      wanted.has(prefix) && prefsrc === (source && formatAddress(source));
    const routed = new Set(present.filter(isRight).map(({ prefix }) => prefix));
    return {
      surplus: present
        .filter((it) => !isRight(it))
        .map(({ prefix }) => `route del ${prefix} dev ${device}`),
      missing: [...wanted].filter(([it]) => !routed.has(it)).map(([, it]) => it),
    };
  }

  /** Adds a route and never replaces one: a replace would silently take the same route from another device. */
  async #route(prefix: Prefix): Promise<void> {
    try {
      await change([this.#addRoute(prefix)]);
    } catch (error) {
      if (error instanceof WeftError && error.message.endsWith("File exists")) {
        throw (await this.#routeInTheWay(prefix)) ?? error;
      }
      throw error;
    }
  }

  /** An error that names the host's route for the same prefix; undefined when there is none. */
  async #routeInTheWay(prefix: Prefix): Promise<WeftError | undefined> {
    const whole = formatPrefix(prefix);
    const { device } = this.#options;
    const { family } = prefix;
    const shown = await ask<ShownRoute>(`-${family}`, "route", "show", "exact", whole);
    const metric = DEFAULT_METRIC[family];
    const other = shown.find((it) => it.dev !== device && (it.metric ?? 0) === metric);
    if (!other) return undefined;
    const { type, gateway, dev } = other;
    const rest = `${gateway ? ` via ${gateway}` : ""}${dev ? ` dev ${dev}` : ""}`;
    const route = `${type ? `${type} ` : ""}${whole}${rest}`;
    return new WeftError(
      "IP",
      `${whole} cannot be routed to ${device}: this host has the route "${route}"`,
      `remove it with "ip -${family} route del ${route}", or found the cluster on another network`,
    );
  }

  /** `nodad` turns duplicate address detection off: a lease is unique, and the TUN device has no neighbours. */
  #addAddress(address: Address): string {
    const { family } = address;
    const whole = `${formatAddress(address)}/${bits(family)}`;
    return `address add ${whole} dev ${this.#options.device}${family === 6 ? " nodad" : ""}`;
  }

  #addRoute(prefix: Prefix): string {
    const source = this.#source(prefix.family);
    const from = source ? ` src ${formatAddress(source)}` : "";
    return `route add ${formatPrefix(prefix)} dev ${this.#options.device}${from}`;
  }

  #source(family: Family): Address | undefined {
    return this.#options.addresses.find((address) => address.family === family);
  }
}

/** The full prefix of a destination, for which `ip` omits the length of a single address and prints "default". */
export function inFull(family: Family, dst: string): string {
  if (dst === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  return formatPrefix(parsePrefix(dst.includes("/") ? dst : `${dst}/${bits(family)}`));
}

export async function deviceExists(name: string): Promise<boolean> {
  const links = await ask<{ ifname: string; altnames?: string[] }>("link", "show");
  return links.some(({ ifname, altnames }) => ifname === name || altnames?.includes(name));
}
