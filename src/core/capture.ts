/**
 * Reads captured packets, each with its fate, from the ring that the core fills (assembly/capture.ts
 * draws a record). The core never waits for the reader: packets that are not read in time are counted
 * as lost.
 */
import { formatEndpoint } from "../address.js";
import { THIS_NODE } from "../compile/compiler.js";
import { WeftError } from "../error.js";
import { readSockaddr } from "../sockaddr.js";
import { readFilter, writeFilter, wrong } from "./capture-filter.js";
import { betweenBatches } from "./counters.js";
import type { Core } from "./instance.js";
import type { Outcome } from "./packet-runner.js";
import { ANSWERED, type Reason, reasonNames } from "./reasons.js";

export interface CaptureOptions {
  /** Only packets that were dropped, or answered with an ICMP error. */
  readonly dropped?: boolean;
  /** Only packets of this connection, in both directions: `tcp 10.244.1.5 10.244.2.80:443`. */
  readonly filter?: string;
  /** Bytes kept of each packet, 1 to 65,575 (default 256). */
  readonly snaplen?: number;
}

/** `Rule` is the caller's type of a rule. */
export interface CapturedPacket<Rule> {
  /** Milliseconds since 1970, if a host's clock drives the core; the same for all packets of a batch. */
  readonly time: number;
  /** `out` from this host's device, `in` from the wire. */
  readonly direction: "out" | "in";
  /** The peer at its other end; null if there is none, or if the packet's source is not proven. */
  readonly peer: string | null;
  /** Inbound, for another peer: the name of that peer. */
  readonly relayedTo?: string;
  /** Inbound: `ip:port` of its underlay source. */
  readonly sender?: string;
  readonly verdict: CaptureVerdict;
  /** The reason for a drop or an ICMP answer. */
  readonly reason?: Reason;
  /** The rule of the policy that decided, if any. */
  readonly rule?: Rule;
  /** Length of the packet in bytes. */
  readonly length: number;
  /** For a super-packet: bytes of payload in each segment. */
  readonly segmentSize?: number;
  /** Bytes as received, from the IP header on: at most `snaplen`. */
  readonly bytes: Uint8Array;
}

type CaptureVerdict = Exclude<Outcome["verdict"], "control">;

/** Resolves the core's numbers. */
export interface Meanings<Rule> {
  /** The name of the peer at a position of the table of peers. */
  peer(place: number): string | undefined;
  /** The rule with this number, if it is in force. */
  rule(number: number): Rule | undefined;
  /** The time at which the core's clock was 0, in milliseconds since 1970. */
  epoch(): number;
}

export const DEFAULT_SNAPLEN = 256;
/** Drops of packets whose source is not proven: no known peer sent them, and no rule was applied. */
const FORGED: readonly (Reason | undefined)[] = ["unknown-peer", "spoofed-source"];

export class Capture<Rule> {
  readonly #core: Core;
  readonly #meanings: Meanings<Rule>;
  readonly #lostBefore: number;
  #ended = false;
  #lost = 0;

  private constructor(core: Core, meanings: Meanings<Rule>) {
    this.#core = core;
    this.#meanings = meanings;
    this.#lostBefore = this.#word(core.layout.CAPTURE_LOST);
  }

  /**
   * Captures from the next batch on, until `stop`.
   * @throws WeftError CAPTURE_BUSY during another capture, CAPTURE for options that are not valid
   */
  static start<Rule>(core: Core, options: CaptureOptions, meanings: Meanings<Rule>): Capture<Rule> {
    const { words, view, layout } = core;
    const { snaplen = DEFAULT_SNAPLEN, dropped = false, filter } = options;
    checkSnaplen(snaplen, layout.MAX_PACKET);
    const asked = filter === undefined ? undefined : readFilter(filter);
    Capture.refuseRunning(core);
    // A batch that began during the last capture reads these words until its end.
    betweenBatches(core, () => {
      view.setUint32(layout.CAPTURE_SNAPLEN, snaplen, true);
      view.setUint32(layout.CAPTURE_DROPPED, dropped ? 1 : 0, true);
      writeFilter(core, asked);
    });
    // Skips the records that the last capture left.
    const put = Atomics.load(words, layout.CAPTURE_PUT >> 2);
    Atomics.store(words, layout.CAPTURE_TAKEN >> 2, put);
    const capture = new Capture(core, meanings);
    Atomics.store(words, layout.CAPTURE_ON >> 2, 1);
    return capture;
  }

  /** @throws WeftError CAPTURE_BUSY during a capture */
  static refuseRunning({ words, layout }: Core): void {
    if (Atomics.load(words, layout.CAPTURE_ON >> 2) === 0) return;
    throw new WeftError(
      "CAPTURE_BUSY",
      "another capture runs on this node already",
      "there can be one capture at a time: end the other one first",
    );
  }

  /** Packets that found the ring full. */
  get lost(): number {
    if (!this.#ended) {
      this.#lost = (this.#word(this.#core.layout.CAPTURE_LOST) - this.#lostBefore) >>> 0;
    }
    return this.#lost;
  }

  /** Takes the packets captured since the last call, oldest first, at most `most`. */
  take(most = Number.MAX_SAFE_INTEGER): CapturedPacket<Rule>[] {
    const { layout, words } = this.#core;
    const packets: CapturedPacket<Rule>[] = [];
    if (this.#ended) return packets;
    const put = this.#word(layout.CAPTURE_PUT);
    let taken = this.#word(layout.CAPTURE_TAKEN);
    const epoch = this.#meanings.epoch();
    while (taken !== put && packets.length < most) {
      const offset = taken % layout.CAPTURE_RING_SIZE;
      const at = layout.CAPTURE_RING + offset;
      const size = this.#core.view.getUint32(at, true);
      if (size > 0) packets.push(this.#read(at, epoch));
      taken = (taken + (size || layout.CAPTURE_RING_SIZE - offset)) >>> 0;
    }
    Atomics.store(words, layout.CAPTURE_TAKEN >> 2, taken);
    return packets;
  }

  /** Stops the capture. Packets that were not taken are dropped. */
  stop(): void {
    if (this.#ended) return;
    this.#lost = this.lost;
    this.#ended = true;
    Atomics.store(this.#core.words, this.#core.layout.CAPTURE_ON >> 2, 0);
  }

  #word(at: number): number {
    return Atomics.load(this.#core.words, at >> 2) >>> 0;
  }

  #read(at: number, epoch: number): CapturedPacket<Rule> {
    const { view, bytes, layout } = this.#core;
    const word = (offset: number) => view.getUint32(at + offset, true);
    const isInbound = word(layout.CAPTURED_DIRECTION) === layout.IN;
    const from = word(layout.CAPTURED_FROM);
    const to = word(layout.CAPTURED_TO);
    const verdict = word(layout.CAPTURED_VERDICT);
    const rule = word(layout.CAPTURED_RULE);
    const reason = verdict === 0 ? undefined : reasonNames[verdict & ~ANSWERED]!;
    const start = at + layout.CAPTURE_RECORD;
    const segmentSize = word(layout.CAPTURED_SEGMENT_SIZE);
    const isForged = FORGED.includes(reason);
    const peer = isForged ? undefined : this.#meanings.peer(isInbound ? from : to);
    const decidedBy = isForged || rule === 0 ? undefined : this.#meanings.rule(rule);
    const next = isInbound && to !== THIS_NODE ? this.#meanings.peer(to) : undefined;
    return {
      time: epoch + view.getFloat64(at + layout.CAPTURED_TIME, true),
      direction: isInbound ? "in" : "out",
      peer: peer ?? null,
      ...(next !== undefined && { relayedTo: next }),
      ...(isInbound && { sender: senderAt(this.#core, at + layout.CAPTURED_SENDER) }),
      verdict: verdictOf(verdict, isInbound && to === THIS_NODE),
      ...(reason && { reason }),
      ...(decidedBy !== undefined && { rule: decidedBy }),
      length: word(layout.CAPTURED_LENGTH),
      ...(segmentSize > 0 && { segmentSize }),
      bytes: bytes.slice(start, start + word(layout.CAPTURED_KEPT)),
    };
  }
}

const senderAt = ({ memory, layout }: Core, at: number): string =>
  formatEndpoint(readSockaddr(new DataView(memory.buffer, at, layout.NAME_SIZE)));

function verdictOf(verdict: number, isForThisNode: boolean): CaptureVerdict {
  if (verdict === 0) return isForThisNode ? "delivered" : "sent";
  return verdict & ANSWERED ? "answered" : "dropped";
}

function checkSnaplen(snaplen: number, most: number): void {
  if (Number.isInteger(snaplen) && snaplen >= 1 && snaplen <= most) return;
  throw wrong(`${snaplen} bytes of each packet cannot be`, `give a whole number from 1 to ${most}`);
}
