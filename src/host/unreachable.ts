/**
 * Unreachable routes behind those of the overlay device. They outlive the process:
 * when an agent dies and its device goes with it, packets for the overlay are refused
 * by this host, where the default route would send them out in clear.
 */
import { type Family, formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";
import { ask, change } from "./ip.js";
import { inFull } from "./link.js";

/** Whose routes they are, as `ip route` shows it (rtm_protocol; none that /etc/iproute2/rt_protos names). */
export const ROUTE_PROTOCOL = 119;
/**
 * The UDP port of an agent is added: two agents on one host do not touch each
 * other's. Linux prefers every lower metric, and this is far above any in use.
 */
const METRIC = 0xffff0000;

export class UnreachableRoutes {
  readonly #metric: number;
  /** In full, by family; not known before the first look. */
  readonly #present = new Map<Family, ReadonlySet<string>>();

  /** @param port the UDP port of the agent */
  constructor(port: number) {
    this.#metric = METRIC + port;
  }

  /**
   * From now on these prefixes have such a route and no others, what an earlier agent
   * left included. One family that cannot be set does not keep the other.
   * @returns what could not be done: one sentence each
   */
  async set(prefixes: readonly Prefix[]): Promise<string[]> {
    const trouble: string[] = [];
    for (const family of [4, 6] as const) {
      const wanted = prefixes.filter((it) => it.family === family).map(formatPrefix);
      try {
        await this.#setFamily(family, new Set(wanted));
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        // A host without IPv6 has none to take away either.
        if (wanted.length > 0) trouble.push(`${error.message}: ${error.remedy}`);
      }
    }
    return trouble;
  }

  /** Takes away what was set. One that is gone already is fine. */
  async remove(): Promise<void> {
    for (const prefix of [...this.#present.values()].flatMap((all) => [...all])) {
      await change([this.#route("del", prefix)]).catch(() => {});
    }
    this.#present.clear();
  }

  async #setFamily(family: Family, wanted: ReadonlySet<string>): Promise<void> {
    if (wanted.size === 0 && this.#present.get(family)?.size === 0) return;
    const question = `-${family} route show type unreachable proto ${ROUTE_PROTOCOL}`;
    const shown = await ask<{ dst: string; metric?: number }>(...question.split(" "));
    const routes = shown.map(({ dst, metric }) => ({ prefix: inFull(family, dst), metric }));
    const ours = routes.filter(({ metric }) => metric === this.#metric);
    const present = new Set(ours.map(({ prefix }) => prefix));
    const gone = ours.filter(({ prefix }) => !wanted.has(prefix));
    // Of the same prefix, but another port: no second agent can route it, so it was this one's.
    const earlier = routes.filter((it) => it.metric !== this.#metric && wanted.has(it.prefix));
    this.#present.set(family, new Set([...present, ...wanted]));
    await change([
      ...[...wanted].filter((it) => !present.has(it)).map((it) => this.#route("add", it)),
      ...[...gone, ...earlier].map(({ prefix, metric }) => this.#route("del", prefix, metric)),
    ]);
    this.#present.set(family, wanted);
  }

  #route(verb: "add" | "del", prefix: string, metric = this.#metric): string {
    return `route ${verb} unreachable ${prefix} proto ${ROUTE_PROTOCOL} metric ${metric}`;
  }
}
