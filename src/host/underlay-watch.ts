/**
 * Watches the underlay while the agent runs: its address, which may change at any time, and the MTU
 * of the routes to the peers.
 *
 * The address stays as long as the host has it and peers answer there, whatever other routes
 * appear; a configured address always stays.
 */
import { type Address, formatAddress } from "../address.js";
import { WeftError } from "../error.js";
import { SingleFlight } from "../time/single-flight.js";
import { findUnderlay, type UnderlayInterface } from "./underlay.js";

/** Checks in a row without the address after which it counts as gone; one may fall into its renewal. */
const GONE_AFTER = 2;

export interface UnderlayWatchParts {
  /** Addresses of peers, as far as known. */
  peers(): Promise<readonly Address[]>;
  /** Whether a peer answered lately, or there is no peer. */
  isHeard(): boolean;
  /** Moves the agent to another address; after a WeftError the next check tries it again. */
  move(to: UnderlayInterface): Promise<void>;
  /** Sets another MTU. */
  resize(to: UnderlayInterface): void;
}

export class UnderlayWatch {
  readonly #configured: Address | undefined;
  readonly #parts: UnderlayWatchParts;
  #underlay: UnderlayInterface;
  #problem: string | undefined;
  readonly #checks = new SingleFlight(() => this.#check());
  /** Checks in a row that did not find the address. */
  #missed = 0;

  /**
   * @param given the configured address, if there is one
   * @param first the underlay that the agent uses now
   */
  constructor(given: Address | undefined, first: UnderlayInterface, parts: UnderlayWatchParts) {
    this.#configured = given;
    this.#underlay = first;
    this.#parts = parts;
  }

  get underlay(): UnderlayInterface {
    return this.#underlay;
  }

  /** The error of the last check, as one sentence. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Checks the underlay, or joins the check that is under way; resolves when it is over. */
  check(): Promise<void> {
    return this.#checks.run();
  }

  /** Resolves when no check runs any more. */
  idle(): Promise<void> {
    return this.#checks.idle();
  }

  async #check(): Promise<void> {
    try {
      const before = this.#underlay;
      const { mtu = before.mtu, ...rest } = await this.#find();
      const found = { ...rest, mtu };
      if (!isSame(found, before)) await this.#parts.move(found);
      this.#underlay = found;
      this.#problem = undefined;
      if (found.mtu !== before.mtu) this.#parts.resize(found);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#problem = `${error.message}: ${error.remedy}`;
    }
  }

  async #find(): Promise<UnderlayInterface> {
    const { address } = this.#underlay;
    const peers = await this.#parts.peers();
    if (this.#configured) return await findUnderlay({ address: this.#configured, peers });
    const kept = await orNothing(findUnderlay({ address, peers }));
    this.#missed = kept ? 0 : this.#missed + 1;
    if (kept && this.#parts.isHeard()) return kept;
    if (!kept && this.#missed < GONE_AFTER) return this.#underlay;
    // All members use one family, so an address of the other one could not be reached.
    const other = findUnderlay({ families: [address.family], peers });
    return kept ? ((await orNothing(other)) ?? kept) : await other;
  }
}

const isSame = (a: UnderlayInterface, b: UnderlayInterface): boolean =>
  formatAddress(a.address) === formatAddress(b.address);

/** The underlay; undefined when there is none. */
async function orNothing(
  underlay: Promise<UnderlayInterface>,
): Promise<UnderlayInterface | undefined> {
  try {
    return await underlay;
  } catch (error) {
    if (error instanceof WeftError && error.code === "UNDERLAY") return undefined;
    throw error;
  }
}
