/**
 * Claims this host for one agent. It finds every error that can be known before the machine is
 * changed, so only the lock has to be undone.
 */
import { type Config, underlayFits } from "../config/config.js";
import { knownPeers } from "./known-peers.js";
import { removeLeftovers } from "./leftovers.js";
import { StateLock } from "./lock.js";
import { checkMeans, checkRoom } from "./preflight.js";
import { findUnderlay, type UnderlayInterface } from "./underlay.js";

export interface HostClaim {
  readonly underlay: UnderlayInterface;
  /** One sentence for each leftover of an earlier agent that was removed. */
  readonly repaired: readonly string[];
  /**
   * Takes the lock again if its file was removed.
   * @returns whether it was removed
   * @throws WeftError STATE when it cannot be taken
   */
  keep(): boolean;
  release(): void;
}

/** @throws WeftError, or the reason of `signal` once it is aborted; then nothing is left behind */
export async function claimHost(config: Config, signal: AbortSignal): Promise<HostClaim> {
  await checkMeans();
  const lock = new StateLock(config.state);
  lock.take(config.name);
  try {
    const underlay = await findUnderlay({
      address: config.underlay,
      peers: await knownPeers(config, signal),
      mayNameThisHost: true,
    });
    underlayFits(config, underlay.prefix);
    const repaired = await removeLeftovers(config);
    await checkRoom(config, underlay);
    signal.throwIfAborted();
    return {
      underlay,
      repaired,
      keep: () => lock.keep(config.name),
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}
