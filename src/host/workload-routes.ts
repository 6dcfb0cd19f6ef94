/** The routes of this host to its workloads: those to addresses in leases of this node. */
import { formatAddress, formatPrefix, type Prefix, parseAddress } from "../address.js";
import type { Coverage } from "../explain/coverage.js";
import type { ShownRoute } from "./conflict.js";
import { askAll } from "./ip.js";
import { inFull } from "./link.js";

export interface LedPackets {
  /** Name of the overlay device. */
  readonly device: string;
  readonly leases: readonly Prefix[];
  readonly routed: readonly Prefix[];
  readonly throughCore: boolean;
  /** Names of the interfaces whose packets are led to the core. */
  readonly interfaces: readonly string[];
}

/** @throws WeftError IP */
export async function findCoverage(led: LedPackets): Promise<Coverage> {
  const routes = await askAll<ShownRoute>(
    led.leases.map((lease) => `route show table all root ${formatPrefix(lease)}`),
  );
  return coverageAmong(routes, led);
}

/** @param routes for each lease, the routes to addresses in it */
export function coverageAmong(
  routes: readonly (readonly ShownRoute[])[],
  { device, leases, routed, throughCore, interfaces }: LedPackets,
): Coverage {
  const own: string[] = [];
  const workloads = new Map<string, Coverage["workloads"][number]>();
  for (const [i, { family }] of leases.entries()) {
    for (const { type, dst, dev, flags } of routes[i] ?? []) {
      if (type === "local") own.push(formatAddress(parseAddress(dst)));
      const leads = type === undefined && dev !== undefined && dev !== device && dev !== "lo";
      if (!leads || flags?.includes("dead")) continue;
      const prefix = inFull(family, dst);
      workloads.set(`${prefix} ${dev}`, { prefix, device: dev, isLed: interfaces.includes(dev) });
    }
  }
  return { throughCore, routed: routed.map(formatPrefix), own, workloads: [...workloads.values()] };
}
