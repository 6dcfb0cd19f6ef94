/**
 * Takes this host for one agent: everything that can be known to be wrong is
 * found here, while there is nothing yet to undo but the lock.
 */
import { type Config, underlayFits } from "../config/config.js";
import { knownPeers } from "./known-peers.js";
import { removeLeftovers } from "./leftovers.js";
import { StateLock } from "./lock.js";
import { checkMeans, checkRoom } from "./preflight.js";
import { findUnderlay, type UnderlayInterface } from "./underlay.js";

export interface HostClaim {
  readonly underlay: UnderlayInterface;
  /** What an earlier agent had left and was put right: one sentence each. */
  readonly repaired: readonly string[];
  /**
   * Takes the lock again if somebody removed it.
   * @returns whether it was removed
   * @throws WeftError STATE when it cannot be had
   */
  keep(): boolean;
  release(): void;
}

/** @throws WeftError, with nothing left behind */
export async function claimHost(config: Config): Promise<HostClaim> {
  await checkMeans();
  const lock = new StateLock(config.state);
  lock.take(config.name);
  try {
    const underlay = await findUnderlay({
      address: config.underlay,
      peers: await knownPeers(config),
      mayNameThisHost: true,
    });
    underlayFits(config, underlay.prefix);
    const repaired = await removeLeftovers(config);
    await checkRoom(config, underlay);
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
