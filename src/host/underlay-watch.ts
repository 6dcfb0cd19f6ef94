/**
 * Follows the underlay while the agent runs: its address, which a host may exchange for another at
 * any time, and the MTU of the routes to the peers.
 *
 * An address stays as long as the host has it and peers answer there, whatever other routes come
 * up; one that was configured stays in any case.
 */
import { type Address, formatAddress } from "../address.js";
import { WeftError } from "../error.js";
import { findUnderlay, type UnderlayInterface } from "./underlay.js";

/** Looks in a row that do not find the address, after which it is gone: it may only be renewed. */
const GONE_AFTER = 2;

export interface UnderlayWatchParts {
  /** Addresses of peers, as far as known. */
  peers(): Promise<readonly Address[]>;
  /** Whether a peer was heard of late, or there is none to hear. */
  isHeard(): boolean;
  /** Takes up another address; when it throws a WeftError, it is tried again at the next look. */
  move(to: UnderlayInterface): Promise<void>;
  /** Takes up another MTU. */
  resize(to: UnderlayInterface): void;
}

export class UnderlayWatch {
  readonly #configured: Address | undefined;
  readonly #parts: UnderlayWatchParts;
  #underlay: UnderlayInterface;
  #problem: string | undefined;
  #checking: Promise<void> | undefined;
  /** Looks in a row that did not find the address. */
  #missed = 0;

  /**
   * @param given the configured address, if there is one
   * @param first what the agent runs on now
   */
  constructor(given: Address | undefined, first: UnderlayInterface, parts: UnderlayWatchParts) {
    this.#configured = given;
    this.#underlay = first;
    this.#parts = parts;
  }

  get underlay(): UnderlayInterface {
    return this.#underlay;
  }

  /** Why the underlay is not as it should be: one sentence. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** One look at a time; settles when it is over. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** Settles when nothing is being taken up any more. */
  async idle(): Promise<void> {
    await this.#checking;
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
    // All members share the family, so another one would be of no use.
    const other = findUnderlay({ families: [address.family], peers });
    return kept ? ((await orNothing(other)) ?? kept) : await other;
  }
}

const isSame = (a: UnderlayInterface, b: UnderlayInterface): boolean =>
  formatAddress(a.address) === formatAddress(b.address);

/** Nothing where there is no such underlay. */
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
