/**
 * Unreachable routes for the overlay, with a higher metric than those of its device. They outlive the
 * process: when an agent dies, and its device with it, this host refuses packets for the overlay,
 * which the default route would otherwise send out unencapsulated.
 */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { type Family, formatPrefix, type Prefix } from "../address.js";
import { attempt, WeftError } from "../error.js";
import { ask, change } from "./ip.js";
import { hasIpv6 } from "./ipv6.js";
import { inFull } from "./link.js";

/** Marks the routes as weft's in `ip route` (rtm_protocol; no value that /etc/iproute2/rt_protos names). */
export const ROUTE_PROTOCOL = 119;
/**
 * The lowest metric of such a route; 16 bits of a hash of the agent's state directory are added. No
 * two agents share a state directory, and it stays when ports or addresses change, so two agents on
 * one host do not touch each other's routes. Linux prefers lower metrics, and all in use are lower.
 */
const METRIC = 0xffff0000;

/** @param state the agent's state directory, which exists */
export const metricOf = (state: string): number =>
  METRIC + createHash("sha256").update(realpathSync(state)).digest().readUInt16BE();

export class UnreachableRoutes {
  readonly #metric: number;
  /** All routes of this agent by family; unknown before the first check. */
  readonly #present = new Map<Family, ReadonlySet<string>>();
  /** The routes of this agent that the first check found, by family. */
  readonly #before = new Map<Family, ReadonlySet<string>>();

  /** @param state the agent's state directory, which exists */
  constructor(state: string) {
    this.#metric = metricOf(state);
  }

  /**
   * Sets an unreachable route for exactly these prefixes, and removes all others of this agent, also
   * those of an earlier run. If one family fails, the other is still set.
   * @returns one sentence for each family that failed
   */
  async set(prefixes: readonly Prefix[]): Promise<string[]> {
    const trouble: string[] = [];
    for (const family of [4, 6] as const) {
      const wanted = prefixes.filter((it) => it.family === family).map(formatPrefix);
      const problems = await attempt(() => this.#setFamily(family, new Set(wanted)));
      const mayHaveSome = family === 4 || hasIpv6();
      if (wanted.length > 0 || mayHaveSome) trouble.push(...problems);
    }
    return trouble;
  }

  /**
   * Removes all routes of this agent, also those of an earlier run.
   * @returns one sentence for each family that failed
   */
  remove(): Promise<string[]> {
    return this.set([]);
  }

  /**
   * Restores the routes from before the first `set`.
   * @returns one sentence for each family that failed
   */
  async restore(): Promise<string[]> {
    const trouble: string[] = [];
    for (const [family, before] of this.#before) {
      trouble.push(...(await attempt(() => this.#setFamily(family, before))));
    }
    return trouble;
  }

  async #setFamily(family: Family, wanted: ReadonlySet<string>): Promise<void> {
    if (wanted.size === 0 && this.#present.get(family)?.size === 0) return;
    const present = await this.#look(family);
    if (!this.#before.has(family)) this.#before.set(family, present);
    this.#present.set(family, new Set([...present, ...wanted]));
    await change([
      ...[...wanted].filter((it) => !present.has(it)).map((it) => this.#route("add", it)),
      ...[...present].filter((it) => !wanted.has(it)).map((it) => this.#route("del", it)),
    ]);
    this.#present.set(family, wanted);
  }

  /** The routes of this agent on the host; if `ip` fails, those of the last check. */
  async #look(family: Family): Promise<ReadonlySet<string>> {
    const question = `-${family} route show type unreachable proto ${ROUTE_PROTOCOL}`;
    try {
      const shown = await ask<{ dst: string; metric?: number }>(...question.split(" "));
      const ours = shown.filter(({ metric }) => metric === this.#metric);
      return new Set(ours.map(({ dst }) => inFull(family, dst)));
    } catch (error) {
      const known = this.#present.get(family);
      if (error instanceof WeftError && known) return known;
      throw error;
    }
  }

  #route(verb: "add" | "del", prefix: string): string {
    return `route ${verb} unreachable ${prefix} proto ${ROUTE_PROTOCOL} metric ${this.#metric}`;
  }
}
