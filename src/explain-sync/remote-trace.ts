/**
 * Traces a packet behind this node. Asks the node that the packet goes to next; that node runs the
 * packet through its core as if it came from here, reports, and asks the node after it.
 */
import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import { onwardOf } from "../explain/explain.js";
import { type TraceOutcome, traceReportOf } from "../explain/trace-report.js";
import type { Members } from "../gossip/members.js";
import type { Names } from "../gossip/names.js";
import type { Paths } from "../paths/paths.js";
import { MAX_RELAYS } from "../paths/probe.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import { plainSentence, type Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import {
  MAX_TRACED_BYTES,
  type NodeReport,
  type RemoteTraceMessage,
  type RemoteTraceResult,
  remoteTraceSpec,
  TRACE_TIMEOUT,
  type Unasked,
} from "./messages.js";

/** Each node on the path waits this much less than the node before it, in milliseconds, to answer in time. */
export const TIMEOUT_STEP = 200;
/** Packets traced for others, at once and per second: for one neighbour, and for all together. */
export const TRACES_FOR_OTHERS = { each: { burst: 8, rate: 2 }, all: { burst: 16, rate: 8 } };
/** Most requests that await an answer, this node's own and those it passes on for others. */
export const MAX_PENDING_TRACES = 64;

type ExplainSession = Session<RemoteTraceMessage>;

/**
 * Traces a packet here for another node: as coming from the member `from`, or, without `from`, as
 * leaving this host. Rejects with a WeftError when there can be no such packet.
 */
export type Explain = (packet: Uint8Array, from?: string) => Promise<TraceOutcome>;

/** A packet that goes on to the peer `to`; with `leaves`, a packet that leaves the host of that peer. */
export interface Onward {
  readonly to: string;
  readonly packet: Uint8Array;
  readonly leaves?: true;
}

interface TracedNode {
  readonly id: string;
  readonly name: string;
}

export interface RemoteTraceParts {
  readonly clock: Clock;
  /** This node's name. */
  readonly name: string;
  /** Undefined without a dataplane. */
  readonly explain: Explain | undefined;
  readonly connections: Sessions<RemoteTraceMessage> & Pick<ConnectionManager, "failure">;
  readonly members: Pick<Members, "get" | "view">;
  readonly names: Names;
  /** Undefined where packets go straight to each member. */
  readonly paths: Pick<Paths, "nextHopTo"> | undefined;
}

export interface RemoteTraceEvents {
  /** `needed` has one more node. */
  changed: [];
}

/** Receives the answers to one request. */
interface Listener {
  report(one: NodeReport): void;
  /** No more reports come. `unasked` names the node that gave none, if any. */
  ended(unasked: Unasked | undefined): void;
}

/** A request that awaits its answers. */
interface PendingTrace {
  readonly n: number;
  readonly id: string;
  readonly name: string;
  readonly request: MessageOf<RemoteTraceMessage, "trace-request">;
  readonly listener: Listener;
  readonly cancel: () => void;
  session?: ExplainSession;
  reports: number;
}

export class RemoteTrace
  extends EventEmitter<RemoteTraceEvents>
  implements Protocol<RemoteTraceMessage>
{
  readonly spec = remoteTraceSpec;
  readonly #parts: RemoteTraceParts;
  readonly #pending = new Map<number, PendingTrace>();
  readonly #perNeighbour: KeyedRateLimiter;
  readonly #all: TokenBucket;
  #count = 0;

  constructor(parts: RemoteTraceParts) {
    super();
    this.#parts = parts;
    this.#perNeighbour = new KeyedRateLimiter(parts.clock, TRACES_FOR_OTHERS.each);
    this.#all = new TokenBucket(
      parts.clock,
      TRACES_FOR_OTHERS.all.burst,
      TRACES_FOR_OTHERS.all.rate,
    );
  }

  /** Collects the reports of the nodes on this packet's path. Resolves within TRACE_TIMEOUT. */
  trace(onward: Onward): Promise<RemoteTraceResult> {
    const further: NodeReport[] = [];
    return new Promise((resolve) =>
      this.#request(onward, TRACE_TIMEOUT, {
        report: (one) => further.push(one),
        ended: (unasked) => resolve({ further, ...(unasked && { unasked }) }),
      }),
    );
  }

  /** Ids of the nodes that need a session for a pending request. */
  get needed(): string[] {
    return [...this.#pending.values()].map(({ id }) => id);
  }

  opened(session: ExplainSession): void {
    for (const one of this.#pending.values()) {
      if (one.id === session.peer.id && !one.session?.isOpen) this.#send(one, session);
    }
  }

  closed(session: ExplainSession): void {
    for (const one of [...this.#pending.values()]) {
      if (one.session === session) this.#finish(one, "the session with it ended");
    }
  }

  stop(): void {
    for (const one of [...this.#pending.values()]) this.#finish(one, "the node that asks stops");
  }

  received(session: ExplainSession, message: RemoteTraceMessage) {
    switch (message.type) {
      case "trace-request":
        return void this.#onRequest(session, message);
      case "trace-report":
        return this.#onReport(session, message);
      case "trace-end":
        return this.#onEnd(session, message);
    }
  }

  // ---- asking

  #request({ to, packet, leaves }: Onward, within: number, listener: Listener) {
    const { name: own, clock, connections, names } = this.#parts;
    const asked = leaves ? names.member(to) : this.#nextHop(to);
    if (!asked) return listener.ended(undefined);
    const { id, name } = asked;
    const why = this.#refusal(packet, within);
    if (why) return listener.ended({ node: name, from: own, why });
    this.#count = (this.#count + 1) % 2 ** 31;
    const n = this.#count;
    const bytes = Buffer.from(packet).toString("base64");
    const one: PendingTrace = {
      n,
      id,
      name,
      request: { type: "trace-request", n, within, packet: bytes, ...(leaves && { leaves }) },
      listener,
      cancel: clock.after(within, () => this.#finish(one, this.#timeoutReason(one))),
      reports: 0,
    };
    this.#pending.set(n, one);
    const open = connections.sessionWith(id);
    if (open) this.#send(one, open);
    else this.emit("changed");
  }

  #refusal(packet: Uint8Array, within: number): string | undefined {
    if (within <= 0) return "the path is too long";
    if (packet.length > MAX_TRACED_BYTES) return `it is longer than ${MAX_TRACED_BYTES} bytes`;
    if (this.#pending.size >= MAX_PENDING_TRACES) return "too many requests are pending";
    return undefined;
  }

  /** The member to which packets for the peer of this name are handed; nothing if it runs no agent. */
  #nextHop(name: string): TracedNode | undefined {
    const { names, members, paths } = this.#parts;
    const target = names.member(name);
    return target && (paths ? members.view.members.get(paths.nextHopTo(target.id)) : target);
  }

  #send(one: PendingTrace, session: ExplainSession): void {
    one.session = session;
    session.send(one.request);
  }

  #timeoutReason({ id, session }: PendingTrace): string {
    if (session) return "it did not answer in time";
    const { connections, members } = this.#parts;
    const failure = connections.failure(members.get(id)?.mesh ?? "");
    const why = failure ? `: ${failure.message}` : " in time";
    return plainSentence(`no session with it could be opened${why}`);
  }

  #onReport(
    session: ExplainSession,
    { n, node, report }: MessageOf<RemoteTraceMessage, "trace-report">,
  ): void {
    const one = this.#pending.get(n);
    if (one?.session !== session) return;
    // The first report is of the peer itself, whose name is known here; the names behind it cannot be checked.
    one.listener.report({ ...report, node: one.reports === 0 ? one.name : node });
    one.reports++;
    if (report.verdict !== "sent") this.#finish(one);
    else if (one.reports > MAX_RELAYS) this.#finish(one, "the path is too long");
  }

  #onEnd(
    session: ExplainSession,
    { n, unasked }: MessageOf<RemoteTraceMessage, "trace-end">,
  ): void {
    const one = this.#pending.get(n);
    if (one?.session !== session) return;
    this.#forget(one);
    one.listener.ended(unasked);
  }

  #finish(one: PendingTrace, why?: string): void {
    this.#forget(one);
    one.listener.ended(
      why === undefined ? undefined : { node: one.name, from: this.#parts.name, why },
    );
  }

  #forget(one: PendingTrace): void {
    one.cancel();
    this.#pending.delete(one.n);
  }

  // ---- answering

  async #onRequest(
    session: ExplainSession,
    { n, within, packet, leaves }: MessageOf<RemoteTraceMessage, "trace-request">,
  ) {
    const { clock, names } = this.#parts;
    const from = names.ofMember(session.peer.id);
    if (from === undefined) return;
    const began = clock.elapsed();
    const ended = (unasked?: Unasked) =>
      session.send({ type: "trace-end", n, ...(unasked && { unasked }) });
    const bytes = Buffer.from(packet, "base64");
    const tried = await this.#try(session, bytes, leaves ? undefined : from);
    if (!session.isOpen) return;
    if (typeof tried === "string") return ended({ node: this.#parts.name, from, why: tried });
    const report = traceReportOf(tried);
    session.send({ type: "trace-report", n, node: this.#parts.name, report });
    if (report.verdict !== "sent") return;
    const onward = onwardOf(tried);
    if (!onward) return ended();
    const left = within - TIMEOUT_STEP - Math.ceil(clock.elapsed() - began);
    this.#request(onward, left, {
      report: ({ node, ...report }) => session.send({ type: "trace-report", n, node, report }),
      ended: (unasked) => ended(unasked),
    });
  }

  /** Traces a packet that comes from `from`, or leaves this host; a sentence if it cannot. */
  async #try(
    session: ExplainSession,
    packet: Uint8Array,
    from: string | undefined,
  ): Promise<TraceOutcome | string> {
    const { explain } = this.#parts;
    if (!explain) return "it has no dataplane";
    if (!this.#perNeighbour.of(session.peer.id).spend(1) || !this.#all.spend(1))
      return "it was asked too often";
    try {
      return await explain(packet, from);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return plainSentence(error.message);
    }
  }
}
