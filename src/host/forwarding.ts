/**
 * Asks the kernel with `ip route get` where this host routes a packet before weft gets it, and after
 * weft has written it to its device. The host's firewall (nft, iptables) is not asked.
 */
import { readFile } from "node:fs/promises";
import { type Family, parseAddress, printable } from "../address.js";
import { WeftError } from "../error.js";
import type { HostView } from "../explain/host-view.js";
import { ask } from "./ip.js";

interface KernelRoute {
  readonly type?: string;
  /** With `fibmatch`, the destination of the route; without, that of the packet. */
  readonly dst?: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly table?: string;
}

/** Source and destination, both of one family. */
export interface Ends {
  readonly src: string;
  readonly dst: string;
}

export interface RouteOut extends HostView {
  /** Whether the source is an address of the host itself. */
  readonly isOwn: boolean;
}

/** The route of a packet from a program of this host, or from a source behind another device of it. */
export async function routeOut({ src, dst }: Ends, overlay: string): Promise<RouteOut> {
  const home = await get(parseAddress(dst).family, [src]);
  const isOwn = !(home instanceof Refusal) && home.type === "local";
  return { ...(await routeFrom(home, { src, dst }, overlay)), isOwn };
}

async function routeFrom(
  home: KernelRoute | Refusal,
  { src, dst }: Ends,
  overlay: string,
): Promise<HostView> {
  const { family } = parseAddress(dst);
  if (home instanceof Refusal || home.dev === overlay) {
    const why = `no program or device of this host has ${src}: routed as if one had`;
    return { ...(await routed(family, [dst], overlay)), why };
  }
  const isBehind = home.type === undefined && home.dev !== undefined;
  if (isBehind) return forwarded(family, { src, dst }, home.dev, overlay);
  return routed(family, [dst, "from", src], overlay);
}

/** The route of a packet that weft writes to its device. */
export async function routeIn({ src, dst }: Ends, overlay: string): Promise<HostView> {
  const view = await forwarded(parseAddress(dst).family, { src, dst }, overlay, overlay);
  if (view.to !== "weft") return view;
  return { to: "nowhere", why: `no program or device of this host has ${dst}` };
}

async function forwarded(
  family: Family,
  { src, dst }: Ends,
  from: string,
  overlay: string,
): Promise<HostView> {
  const view = await routed(family, [dst, "from", src, "iif", from], overlay);
  if (view.to === "local" || (await forwards(family))) return view;
  return { to: "refused", why: `this host forwards no packets: ${FORWARDING[family]} is 0` };
}

/** The setting that lets a host forward, by family. */
export const FORWARDING = { 4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding" } as const;

/** Whether this host forwards. For IPv6 the kernel shows a route even when it does not. */
export async function forwards(family: Family): Promise<boolean> {
  const setting = `/proc/sys/${FORWARDING[family].replaceAll(".", "/")}`;
  return (await readFile(setting, "utf8").catch(() => "1")).trim() !== "0";
}

/** @param words of `ip route get` */
async function routed(
  family: Family,
  words: readonly string[],
  overlay: string,
): Promise<HostView> {
  const view = viewOf(await get(family, words), overlay);
  if (view.to !== "device") return view;
  const route = await get(family, ["fibmatch", ...words]);
  return route instanceof Refusal || route.dst === undefined
    ? view
    : { ...view, route: nameOf(route.dst, route.table) };
}

/** The kernel tells "local" from "main" only where a host has rules of its own. */
const nameOf = (dst: string, table = "main"): string =>
  printable(table === "main" || table === "local" ? dst : `${dst} table ${table}`);

function viewOf(route: KernelRoute | Refusal, overlay: string): HostView {
  if (route instanceof Refusal) return { to: "refused", why: route.why };
  const { type, dev, gateway } = route;
  if (type !== undefined && REFUSING.includes(type)) return { to: "refused", why: printable(type) };
  if (dev === overlay) return { to: "weft" };
  if (type === "local") return { to: "local" };
  return {
    to: "device",
    ...(dev !== undefined && { device: printable(dev) }),
    ...(gateway !== undefined && { via: printable(gateway) }),
  };
}

const REFUSING = ["unreachable", "prohibit", "blackhole", "throw"];

/** The kernel's error text in the place of a route. */
class Refusal {
  constructor(readonly why: string) {}
}

async function get(family: Family, words: readonly string[]): Promise<KernelRoute | Refusal> {
  try {
    const [route] = await ask<KernelRoute>(`-${family}`, "route", "get", ...words);
    return route ?? new Refusal("no route");
  } catch (error) {
    const answer = error instanceof WeftError && /RTNETLINK answers: (.*)/.exec(error.message);
    if (!answer) throw error;
    return new Refusal(printable(answer[1]!));
  }
}
