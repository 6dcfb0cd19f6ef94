/**
 * What becomes of a packet behind this node: the node that it goes to next is asked.
 * That one tries it as if it came from here, tells, and asks the next one.
 */
import { WeftError } from "../error.js";
import { onwardOf } from "../explain/explain.js";
import { type Tried, toldOf } from "../explain/told.js";
import { MAX_RELAYS } from "../paths/probe.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import { plain, type Session } from "../session/session.js";
import { Budget } from "../time/budget.js";
import { Budgets } from "../time/budgets.js";
import type { Clock } from "../time/clock.js";
import {
  ANSWER_WITHIN,
  type ExplainMessage,
  explainSpec,
  type Followed,
  MAX_ASKED_BYTES,
  type NodeTold,
  type Unasked,
} from "./messages.js";

/** Each node on the way waits so much shorter than the one before it, in milliseconds: that one waits for it. */
export const SHORTER = 200;
/** Packets that are tried for others, at once and per second after that: for one neighbour, for all. */
export const TRIED = { each: { burst: 8, rate: 2 }, all: { burst: 16, rate: 8 } };
/** Questions, of this node and of others that it carries on, that wait for an answer at one time. */
export const MAX_WAITING = 64;

type ExplainSession = Session<ExplainMessage>;

/**
 * Tries a packet for other nodes: one that comes from the member of this name, or without a name
 * one that leaves this host. Rejects with a WeftError when it is none that could.
 */
export type Explain = (packet: Uint8Array, from?: string) => Promise<Tried>;

/** A packet on its way to a peer of this name, as it leaves; or one that `leaves` the host of that peer. */
export interface Onward {
  readonly to: string;
  readonly packet: Uint8Array;
  readonly leaves?: true;
}

interface Asked {
  readonly id: string;
  readonly name: string;
}

export interface InquiriesParts {
  readonly clock: Clock;
  /** The name of this node. */
  readonly own: string;
  /** Nothing where there is no dataplane. */
  readonly explain: Explain | undefined;
  session(id: string): ExplainSession | undefined;
  nameOf(id: string): string | undefined;
  /** The member of this name; nothing if the peer of this name runs no agent. */
  member(name: string): Asked | undefined;
  /** The member to which packets for the peer of this name are handed; nothing if it runs no agent. */
  next(to: string): Asked | undefined;
  /** Why there is no session with this node, as far as is known. */
  failure(id: string): WeftError | undefined;
  /** There is one more to be sought. */
  changed(): void;
}

/** Who wants to know. */
interface Listener {
  told(one: NodeTold): void;
  /** Nothing more comes. */
  ended(unasked: Unasked | undefined): void;
}

/** One that waits. */
interface Waiting {
  readonly n: number;
  readonly id: string;
  readonly name: string;
  readonly ask: MessageOf<ExplainMessage, "explain-ask">;
  readonly listener: Listener;
  readonly cancel: () => void;
  session?: ExplainSession;
  told: number;
}

export class Inquiries implements Protocol<ExplainMessage> {
  readonly spec = explainSpec;
  readonly #parts: InquiriesParts;
  readonly #waiting = new Map<number, Waiting>();
  readonly #each: Budgets;
  readonly #all: Budget;
  #count = 0;

  constructor(parts: InquiriesParts) {
    this.#parts = parts;
    this.#each = new Budgets(parts.clock, TRIED.each);
    this.#all = new Budget(parts.clock, TRIED.all.burst, TRIED.all.rate);
  }

  /** What the nodes on the way of this packet say, and why one of them said nothing. */
  follow(onward: Onward): Promise<Followed> {
    const further: NodeTold[] = [];
    return new Promise((resolve) =>
      this.#ask(onward, ANSWER_WITHIN, {
        told: (one) => further.push(one),
        ended: (unasked) => resolve({ further, ...(unasked && { unasked }) }),
      }),
    );
  }

  /** Ids of nodes to hold a session with, to ask them. */
  get sought(): string[] {
    return [...this.#waiting.values()].map(({ id }) => id);
  }

  opened(session: ExplainSession): void {
    for (const one of this.#waiting.values()) {
      if (one.id === session.peer.id && !one.session?.isOpen) this.#send(one, session);
    }
  }

  closed(session: ExplainSession): void {
    for (const one of [...this.#waiting.values()]) {
      if (one.session === session) this.#end(one, "the session with it ended");
    }
  }

  stop(): void {
    for (const one of [...this.#waiting.values()]) this.#end(one, "the node that asks stops");
  }

  received(session: ExplainSession, message: ExplainMessage) {
    switch (message.type) {
      case "explain-ask":
        return void this.#asked(session, message);
      case "explain-told":
        return this.#told(session, message);
      case "explain-end":
        return this.#ended(session, message);
    }
  }

  // ---- asking

  #ask({ to, packet, leaves }: Onward, within: number, listener: Listener) {
    const { own, clock, member, next, session, changed } = this.#parts;
    const asked = leaves ? member(to) : next(to);
    if (!asked) return listener.ended(undefined);
    const { id, name } = asked;
    const why = this.#obstacle(packet, within);
    if (why) return listener.ended({ node: name, from: own, why });
    this.#count = (this.#count + 1) % 2 ** 31;
    const n = this.#count;
    const bytes = Buffer.from(packet).toString("base64");
    const one: Waiting = {
      n,
      id,
      name,
      ask: { type: "explain-ask", n, within, packet: bytes, ...(leaves && { leaves }) },
      listener,
      cancel: clock.after(within, () => this.#end(one, this.#silence(one))),
      told: 0,
    };
    this.#waiting.set(n, one);
    const open = session(id);
    if (open) this.#send(one, open);
    else changed();
  }

  #obstacle(packet: Uint8Array, within: number): string | undefined {
    if (within <= 0) return "the way is too long";
    if (packet.length > MAX_ASKED_BYTES) return `it is longer than ${MAX_ASKED_BYTES} bytes`;
    if (this.#waiting.size >= MAX_WAITING) return "too many questions wait for an answer";
    return undefined;
  }

  #send(one: Waiting, session: ExplainSession): void {
    one.session = session;
    session.send(one.ask);
  }

  #silence({ id, session }: Waiting): string {
    if (session) return "it did not answer in time";
    const failure = this.#parts.failure(id);
    const why = failure ? `: ${failure.message}` : " in time";
    return plain(`no session with it could be opened${why}`);
  }

  #told(
    session: ExplainSession,
    { n, node, told }: MessageOf<ExplainMessage, "explain-told">,
  ): void {
    const one = this.#waiting.get(n);
    if (one?.session !== session) return;
    // Of itself it cannot say another name; those behind it nobody else can name.
    one.listener.told({ ...told, node: one.told === 0 ? one.name : node });
    one.told++;
    if (told.verdict !== "sent") this.#end(one);
    else if (one.told > MAX_RELAYS) this.#end(one, "the way is too long");
  }

  #ended(session: ExplainSession, { n, unasked }: MessageOf<ExplainMessage, "explain-end">): void {
    const one = this.#waiting.get(n);
    if (one?.session !== session) return;
    this.#forget(one);
    one.listener.ended(unasked);
  }

  #end(one: Waiting, why?: string): void {
    this.#forget(one);
    one.listener.ended(
      why === undefined ? undefined : { node: one.name, from: this.#parts.own, why },
    );
  }

  #forget(one: Waiting): void {
    one.cancel();
    this.#waiting.delete(one.n);
  }

  // ---- answering

  async #asked(
    session: ExplainSession,
    { n, within, packet, leaves }: MessageOf<ExplainMessage, "explain-ask">,
  ) {
    const { clock, nameOf } = this.#parts;
    const from = nameOf(session.peer.id);
    if (from === undefined) return;
    const began = clock.elapsed();
    const ended = (unasked?: Unasked) =>
      session.send({ type: "explain-end", n, ...(unasked && { unasked }) });
    const bytes = Buffer.from(packet, "base64");
    const tried = await this.#try(session, bytes, leaves ? undefined : from);
    if (!session.isOpen) return;
    if (typeof tried === "string") return ended({ node: this.#parts.own, from, why: tried });
    const told = toldOf(tried);
    session.send({ type: "explain-told", n, node: this.#parts.own, told });
    if (told.verdict !== "sent") return;
    const onward = onwardOf(tried);
    if (!onward) return ended();
    const left = within - SHORTER - Math.ceil(clock.elapsed() - began);
    this.#ask(onward, left, {
      told: ({ node, ...told }) => session.send({ type: "explain-told", n, node, told }),
      ended: (unasked) => ended(unasked),
    });
  }

  /** Or why not. */
  async #try(
    session: ExplainSession,
    packet: Uint8Array,
    from: string | undefined,
  ): Promise<Tried | string> {
    const { explain } = this.#parts;
    if (!explain) return "it has no dataplane";
    if (!this.#each.of(session.peer.id).spend(1) || !this.#all.spend(1))
      return "it was asked too often";
    try {
      return await explain(packet, from);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return plain(error.message);
    }
  }
}
