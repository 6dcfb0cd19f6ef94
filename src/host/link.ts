/**
 * The overlay device as the host sees it: its addresses, MTU and routes.
 *
 * The device itself is made elsewhere and vanishes with the process that made
 * it, and its addresses and routes vanish with it.
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import {
  type Address,
  bits,
  type Family,
  formatAddress,
  formatPrefix,
  type Prefix,
  parsePrefix,
} from "../address.js";
import { ask, change } from "./ip.js";
import { checkIpv6, IPV6_SETTINGS } from "./ipv6.js";

/** Packets the device holds for us; Linux gives a TUN device 500, too few for a burst. */
const QUEUE_LENGTH = 1000;

export interface LinkOptions {
  /** Name of a device that exists. */
  readonly device: string;
  /** The node's own overlay addresses: one of each family the cluster network has. */
  readonly addresses: readonly Address[];
  /** MTU of the overlay, in bytes. */
  readonly mtu: number;
  /** The cluster network: routed to the device. */
  readonly network: readonly Prefix[];
}

export class Link {
  constructor(private readonly options: LinkOptions) {}

  get addresses(): readonly Address[] {
    return this.options.addresses;
  }

  /**
   * Gives the device its addresses, MTU and routes, and brings it up.
   * @returns what could not be done and the node can live without: one sentence each
   * @throws WeftError IP when the host refuses; IPV6 or MTU when it cannot carry the IPv6 network
   */
  async configure(): Promise<string[]> {
    const { device, addresses, mtu, network } = this.options;
    checkIpv6(network, mtu, device);
    await change([
      ...(existsSync(IPV6_SETTINGS) ? [`link set dev ${device} addrgenmode none`] : []),
      `link set dev ${device} mtu ${mtu} txqueuelen ${QUEUE_LENGTH}`,
      ...addresses.map((address) => this.#addAddress(address)),
      `link set dev ${device} up`,
      ...network.map((prefix) => this.#addRoute(prefix)),
    ]);
    return this.#acceptOwnSource();
  }

  /**
   * Routes the cluster network and these prefixes to the device, and nothing
   * else. Routes and addresses that were taken away come back; Linux itself
   * takes the IPv6 ones when the device goes down.
   * @returns what cannot be routed: one sentence each
   */
  async setRoutes(beyond: readonly Prefix[]): Promise<string[]> {
    const { addresses, network } = this.options;
    const changes = await this.#missingAddresses();
    const wanted = [...network, ...beyond];
    for (const { family } of addresses) changes.push(...(await this.#differing(family, wanted)));
    await change(changes);
    return wanted
      .filter(({ family }) => !this.#source(family))
      .map((it) => `${formatPrefix(it)} is not routed: this node has no IPv${it.family} address`);
  }

  /** Takes the addresses and the routes away. A device that is gone already is fine. */
  async remove(): Promise<void> {
    const { device } = this.options;
    if (!(await deviceExists(device))) return;
    await change([`link set dev ${device} down`, `address flush dev ${device}`]);
  }

  async #missingAddresses(): Promise<string[]> {
    const { device, addresses } = this.options;
    const shown = await ask<{ addr_info: { local?: string }[] }>("address", "show", "dev", device);
    const present = shown.flatMap(({ addr_info }) => addr_info.map(({ local }) => local));
    return addresses
      .filter((address) => !present.includes(formatAddress(address)))
      .map((address) => this.#addAddress(address));
  }

  /** The changes to the routes of one family. The kernel's own, for addresses and links, are let be. */
  async #differing(family: Family, prefixes: readonly Prefix[]): Promise<string[]> {
    const { device } = this.options;
    const wanted = new Map(
      prefixes.filter((it) => it.family === family).map((it) => [formatPrefix(it), it]),
    );
    const question = [`-${family}`, "route", "show", "dev", device];
    const shown = await ask<{ dst: string; protocol?: string }>(...question);
    const present = new Set(
      shown.filter(({ protocol }) => protocol !== "kernel").map(({ dst }) => inFull(family, dst)),
    );
    return [
      ...[...present].filter((it) => !wanted.has(it)).map((it) => `route del ${it} dev ${device}`),
      ...[...wanted].filter(([it]) => !present.has(it)).map(([, it]) => this.#addRoute(it)),
    ];
  }

  /** `nodad`: nobody else can have it, so there is nobody to ask before it may be used. */
  #addAddress(address: Address): string {
    const { family } = address;
    const whole = `${formatAddress(address)}/${bits(family)}`;
    return `address add ${whole} dev ${this.options.device}${family === 6 ? " nodad" : ""}`;
  }

  #addRoute(prefix: Prefix): string {
    const source = this.#source(prefix.family);
    const from = source ? ` src ${formatAddress(source)}` : "";
    return `route add ${formatPrefix(prefix)} dev ${this.options.device}${from}`;
  }

  #source(family: Family): Address | undefined {
    return this.options.addresses.find((address) => address.family === family);
  }

  /**
   * ICMP errors the core answers with carry the node's own address as their
   * source. Linux drops a packet that comes in with an address of its own,
   * unless accept_local is set.
   */
  async #acceptOwnSource(): Promise<string[]> {
    const setting = `/proc/sys/net/ipv4/conf/${this.options.device}/accept_local`;
    try {
      await writeFile(setting, "1");
      return [];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return [
        `${setting} cannot be set (${code}): ICMP errors of this node will not be seen on it`,
      ];
    }
  }
}

/** `ip` leaves out the length of a single address, and calls a whole family "default". */
export function inFull(family: Family, dst: string): string {
  if (dst === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  return formatPrefix(parsePrefix(dst.includes("/") ? dst : `${dst}/${bits(family)}`));
}

export async function deviceExists(name: string): Promise<boolean> {
  const links = await ask<{ ifname: string; altnames?: string[] }>("link", "show");
  return links.some(({ ifname, altnames }) => ifname === name || altnames?.includes(name));
}
