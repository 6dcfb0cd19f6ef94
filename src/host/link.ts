/**
 * The overlay device as the host sees it: its address, MTU and routes.
 *
 * The device itself is made elsewhere and vanishes with the process that made
 * it, and its address and routes vanish with it.
 */
import { writeFile } from "node:fs/promises";
import { type Address, formatAddress, formatPrefix, type Prefix } from "../address.js";
import { ask, change } from "./ip.js";

/** Packets the device holds for us; Linux gives a TUN device 500, too few for a burst. */
const QUEUE_LENGTH = 1000;

export interface LinkOptions {
  /** Name of a device that exists. */
  readonly device: string;
  /** The node's own overlay address. */
  readonly address: Address;
  /** MTU of the overlay, in bytes. */
  readonly mtu: number;
  /** The cluster network: routed to the device. */
  readonly network: readonly Prefix[];
}

export class Link {
  constructor(private readonly options: LinkOptions) {}

  /**
   * Gives the device its address, MTU and routes, and brings it up.
   * @returns what could not be done and the node can live without: one sentence each
   * @throws WeftError IP when the host refuses
   */
  async configure(): Promise<string[]> {
    const { device, address, mtu, network } = this.options;
    await change([
      `link set dev ${device} addrgenmode none`,
      `link set dev ${device} mtu ${mtu} txqueuelen ${QUEUE_LENGTH}`,
      `address add ${formatAddress(address)}/32 dev ${device}`,
      `link set dev ${device} up`,
      ...network.map((prefix) => this.#add(formatPrefix(prefix))),
    ]);
    return this.#acceptOwnSource();
  }

  /**
   * Routes the cluster network and these prefixes to the device, and nothing
   * else. Routes that someone took away come back.
   */
  async setRoutes(beyond: readonly Prefix[]): Promise<void> {
    const { device, network } = this.options;
    const wanted = new Set([...network, ...beyond].map(formatPrefix));
    const shown = await ask<{ dst: string }>("route", "show", "dev", device);
    const present = new Set(shown.map(({ dst }) => (dst.includes("/") ? dst : `${dst}/32`)));
    await change([
      ...[...present].filter((prefix) => !wanted.has(prefix)).map((prefix) => this.#delete(prefix)),
      ...[...wanted].filter((prefix) => !present.has(prefix)).map((prefix) => this.#add(prefix)),
    ]);
  }

  /** Takes the address and the routes away. A device that is gone already is fine. */
  async remove(): Promise<void> {
    const { device } = this.options;
    if (!(await deviceExists(device))) return;
    await change([`link set dev ${device} down`, `address flush dev ${device}`]);
  }

  #add(prefix: string): string {
    const { device, address } = this.options;
    return `route add ${prefix} dev ${device} src ${formatAddress(address)}`;
  }

  #delete(prefix: string): string {
    return `route del ${prefix} dev ${this.options.device}`;
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

export async function deviceExists(name: string): Promise<boolean> {
  const links = await ask<{ ifname: string; altnames?: string[] }>("link", "show");
  return links.some(({ ifname, altnames }) => ifname === name || altnames?.includes(name));
}
