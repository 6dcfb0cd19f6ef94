/**
 * The outside addresses that this node answers for as the gateway of an egress rule. Neighbours on the
 * link ask by ARP or neighbor discovery which host has such an address; the kernel answers for it by
 * proxy, and routes its packets to the overlay device (link.ts), because the host itself has it not.
 */
import { readFile, writeFile } from "node:fs/promises";
import {
  type Address,
  contains,
  type Family,
  formatAddress,
  parseAddress,
  parseMac,
  prefixOf,
} from "../address.js";
import { attempt } from "../error.js";
import { SystemError } from "../io/errno.js";
import { announce, type NeighbourLink } from "./announcement.js";
import { FORWARDING, forwards } from "./forwarding.js";
import { ask, change } from "./ip.js";
import { ROUTE_PROTOCOL } from "./unreachable.js";

/** Announcements of an address that this node begins to answer for, one at each check. */
const ANNOUNCEMENTS = 3;

interface ShownInterface {
  readonly ifname: string;
  readonly ifindex: number;
  readonly link_type: string;
  readonly address?: string;
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number }[];
}

interface ShownProxy {
  readonly dst: string;
  readonly dev: string;
  readonly protocol?: string;
}

/** An address, and the interface in whose subnet it is. */
interface Answered {
  readonly address: Address;
  readonly device: string;
  readonly link: NeighbourLink;
}

export class EgressAddresses {
  /** The proxy entries that this run has made or found, as `ip neigh` names them. */
  readonly #own = new Set<string>();
  /** Announcements that are still to be sent, by proxy entry. */
  readonly #announcements = new Map<string, number>();
  /** Settings that this run has switched on. */
  readonly #switchedOn = new Set<string>();
  #hasLooked = false;
  #notes: readonly string[] = [];

  /** Sentences about settings that an operator may want to change, though they may be meant so. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /**
   * Has the kernel answer for exactly these addresses, and announces those that are new.
   * @returns one sentence for each failure
   */
  async set(addresses: readonly Address[]): Promise<string[]> {
    if (addresses.length === 0 && this.#hasLooked && this.#own.size === 0) return [];
    return [...(await attempt(() => this.#set(addresses)))];
  }

  async #set(addresses: readonly Address[]): Promise<string[]> {
    const wanted = addresses.length > 0 ? await this.#placed(addresses) : new Map();
    const present = await this.#present();
    const missing = [...wanted.keys()].filter((it) => !present.has(it));
    const surplus = [...present].filter((it) => this.#own.has(it) && !wanted.has(it));
    for (const it of missing) this.#announcements.set(it, ANNOUNCEMENTS);
    for (const it of surplus) this.#announcements.delete(it);
    const trouble = [...(await this.#switchProxies([...wanted.values()]))];
    for (const family of [4, 6] as const) trouble.push(...(await unforwarded(family, addresses)));
    await change([
      ...surplus.map((it) => `neigh del proxy ${it}`),
      ...missing.map((it) => `neigh add proxy ${it} protocol ${ROUTE_PROTOCOL}`),
    ]);
    this.#own.clear();
    for (const it of wanted.keys()) this.#own.add(it);
    return [...trouble, ...this.#announce(wanted)];
  }

  /** The addresses by their proxy entries. One that is in no subnet of this host has none. */
  async #placed(addresses: readonly Address[]): Promise<Map<string, Answered>> {
    const interfaces = await ask<ShownInterface>("address", "show");
    const placed = new Map<string, Answered>();
    const notes: string[] = [];
    for (const address of addresses) {
      const found = linkOf(address, interfaces);
      if (found) placed.set(`${formatAddress(address)} dev ${found.device}`, found);
      else notes.push(routedNote(address));
    }
    this.#notes = notes;
    return placed;
  }

  /** The proxy entries of weft. Those that the first look finds were left by an agent that was killed. */
  async #present(): Promise<Set<string>> {
    const shown = await ask<ShownProxy>("neigh", "show", "proxy");
    const present = shown
      .filter(({ protocol }) => protocol === String(ROUTE_PROTOCOL))
      .map(({ dst, dev }) => `${formatAddress(parseAddress(dst))} dev ${dev}`);
    if (!this.#hasLooked) for (const it of present) this.#own.add(it);
    this.#hasLooked = true;
    return new Set(present);
  }

  /** IPv6 answers by proxy only where this is switched on; IPv4 does so for single addresses in any case. */
  async #switchProxies(wanted: readonly Answered[]): Promise<string[]> {
    const devices = wanted.filter((it) => it.address.family === 6).map(({ device }) => device);
    const settings = new Set(devices.map((it) => `/proc/sys/net/ipv6/conf/${it}/proxy_ndp`));
    const trouble: string[] = [];
    for (const it of this.#switchedOn) {
      if (settings.has(it)) continue;
      await writeFile(it, "0").catch(() => {});
      this.#switchedOn.delete(it);
    }
    for (const it of settings) trouble.push(...(await this.#switchOn(it)));
    return trouble;
  }

  async #switchOn(setting: string): Promise<string[]> {
    try {
      if ((await readFile(setting, "utf8")).trim() !== "0") return [];
      await writeFile(setting, "1");
      this.#switchedOn.add(setting);
      return [];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return [
        `${setting} cannot be set (${code}), so no neighbour learns where this gateway's IPv6 addresses are: make /proc/sys writable`,
      ];
    }
  }

  #announce(wanted: ReadonlyMap<string, Answered>): string[] {
    const trouble: string[] = [];
    for (const [entry, { address, link }] of wanted) {
      const left = this.#announcements.get(entry) ?? 0;
      if (left === 0) continue;
      try {
        announce(address, link);
        this.#announcements.set(entry, left - 1);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        trouble.push(
          `${entry} cannot be announced (${error.message}): neighbours may send to the gateway before for a minute; run weft as root, or with CAP_NET_RAW`,
        );
      }
    }
    return trouble;
  }
}

/** The interface with the longest subnet that the address is in. */
function linkOf(address: Address, interfaces: readonly ShownInterface[]): Answered | undefined {
  const subnets = interfaces.flatMap(({ addr_info, ...it }) =>
    addr_info.flatMap(({ local, prefixlen }) =>
      local === undefined ? [] : { ...it, subnet: prefixOf(parseAddress(local), prefixlen) },
    ),
  );
  const [nearest] = subnets
    .filter((it) => it.link_type === "ether" && contains(it.subnet, address))
    .sort((a, b) => b.subnet.length - a.subnet.length);
  if (nearest?.address === undefined) return undefined;
  const link = { index: nearest.ifindex, mac: parseMac(nearest.address) };
  return { address, device: nearest.ifname, link };
}

const routedNote = (address: Address): string =>
  `no interface of this host is in the subnet of ${formatAddress(address)}, an egress address: it is reached only where a router sends its packets to this host`;

async function unforwarded(family: Family, addresses: readonly Address[]): Promise<string[]> {
  if (!addresses.some((it) => it.family === family) || (await forwards(family))) return [];
  const setting = FORWARDING[family];
  return [
    `this node is no gateway for IPv${family}: its host forwards no packets, ${setting} is 0: set it with: sysctl -w ${setting}=1`,
  ];
}
