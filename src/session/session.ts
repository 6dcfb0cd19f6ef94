/**
 * One session with one peer. Each end first proves its identity (`hello`); then messages flow until
 * one end says `bye`, breaks a rule or falls silent.
 */
import { WeftError } from "../error.js";
import { MAX_SENTENCE } from "../identity/fields.js";
import { type Identity, nodeId } from "../identity/identity.js";
import { KEEP_ONE } from "../lease/genesis.js";
import type { Clock } from "../time/clock.js";
import type { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import {
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  type SessionMessage,
  sessionSpec,
} from "./messages.js";
import type { Message, MessageOf } from "./protocol.js";
import type { ProtocolRegistry } from "./protocol-registry.js";
import type { SendQueue, SendQueues } from "./send-queues.js";
import type { Connection } from "./transport.js";

/** Time for the other end's `hello`. This and the next four are in milliseconds. */
export const HELLO_TIMEOUT = 5_000;
/** Idle time before a ping, jittered so that usually one side pings. */
export const PING_AFTER = { least: 1_100, most: 1_500 };
/** Idle time after which a ping is overdue and the peer's UDP path is probed. */
export const QUIET_AFTER = 3_000;
/** Idle time after which the peer is unresponsive: longer than a pause of 5 s and the idle time before it. */
export const SUSPECT_AFTER = 7_000;
/** Idle time after which the session ends. */
export const IDLE_TIMEOUT = 15_000;
/** With more queued bytes a session ends without `bye`, which would arrive too late. */
const MAX_QUEUED_FOR_BYE = 1024 * 1024;
/** Messages and bytes that a peer may send at once. */
export const BURST = { messages: 2_000, bytes: 256 * MAX_MESSAGE_BYTES };
/** Messages and bytes that a peer may send per second after that. */
export const RATE = { messages: 200, bytes: 16 * MAX_MESSAGE_BYTES };

export interface SessionParts {
  readonly clock: Clock;
  readonly identity: Identity;
  /** 16 random bytes in hex, drawn for this run. They tell this process from a copy with the same identity. */
  readonly instance: string;
  /** Limits of what each peer sends, across its sessions. */
  readonly messages: KeyedRateLimiter;
  readonly bytes: KeyedRateLimiter;
  readonly queues: SendQueues;
  /** Parses messages. */
  readonly protocols: Pick<ProtocolRegistry, "parse">;
  isMember(id: string): boolean;
}

export interface SessionEvents {
  opened(session: Session): void;
  message(session: Session, message: Message): void;
  /** The peer is quiet. Called repeatedly while it is. */
  quiet(session: Session): void;
  closed(session: Session, reason: WeftError): void;
}

export interface PeerIdentity {
  readonly id: string;
  readonly publicKey: string;
  readonly instance: string;
}

export type Role = "dialer" | "listener";

type SessionMessageOf<T extends SessionMessage["type"]> = MessageOf<SessionMessage, T>;
type InSession = SessionMessageOf<"hello" | "ping" | "pong">;

/** `M` is the type of the messages that its user sends. */
export class Session<M extends Message = Message> implements SendQueue {
  readonly #connection: Connection;
  readonly #parts: SessionParts;
  readonly #events: SessionEvents;
  /** Limits of what the other end sends: the peer's own once it has proved its identity. */
  #messages: TokenBucket;
  #bytes: TokenBucket;
  #state: "new" | "hello" | "open" | "closed" = "new";
  #peer: PeerIdentity | undefined;
  #heardAt: number;
  /** The last ping: its number, and when it was sent, by `clock.elapsed` and by `clock.now`. */
  #lastPing = { n: 0, at: 0, time: 0 };
  #rtt: number | undefined;
  #offset: number | undefined;
  #reason: WeftError | undefined;
  #cancel = () => {};

  constructor(
    connection: Connection,
    readonly role: Role,
    parts: SessionParts,
    events: SessionEvents,
  ) {
    this.#connection = connection;
    this.#parts = parts;
    this.#events = events;
    this.#messages = new TokenBucket(parts.clock, BURST.messages, RATE.messages);
    this.#bytes = new TokenBucket(parts.clock, BURST.bytes, RATE.bytes);
    this.#heardAt = parts.clock.elapsed();
  }

  /** The identity that the other end has proved. Available from `opened` on. */
  get peer(): PeerIdentity {
    if (!this.#peer) throw new Error("the session is not open yet");
    return this.#peer;
  }

  get hasPeer(): boolean {
    return this.#peer !== undefined;
  }

  get remote(): string {
    return this.#connection.remote;
  }

  get queued(): number {
    return this.#connection.queued;
  }

  get isMember(): boolean {
    return this.#peer !== undefined && this.#parts.isMember(this.#peer.id);
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether the peer was heard within SUSPECT_AFTER. */
  get isResponsive(): boolean {
    return this.isOpen && this.#quietFor < SUSPECT_AFTER;
  }

  /** When the last message came, by `clock.elapsed`. */
  get heardAt(): number {
    return this.#heardAt;
  }

  get #quietFor(): number {
    return this.#parts.clock.elapsed() - this.#heardAt;
  }

  /** Round-trip time of the last answered ping, in milliseconds. */
  get rttMs(): number | undefined {
    return this.#rtt;
  }

  /** Milliseconds by which the peer's clock is at least ahead of this one, from its last pong; negative when it is behind. */
  get aheadMs(): number | undefined {
    return this.#offset;
  }

  start() {
    const { clock, identity, instance } = this.#parts;
    this.#state = "hello";
    this.#cancel = clock.after(HELLO_TIMEOUT, () =>
      this.#fail("SILENT", "the other end did not say who it is"),
    );
    const { queues } = this.#parts;
    queues.add(this);
    this.#connection.open({
      message: (text) => this.#onText(text),
      closed: () => {
        queues.remove(this);
        this.#onClosed();
      },
    });
    const signature = identity.sign(this.#helloText(this.role, identity.publicKey, instance));
    this.send({
      type: "hello",
      protocol: PROTOCOL_VERSION,
      key: identity.publicKey,
      instance,
      signature,
    });
  }

  send(message: M | SessionMessage) {
    if (this.#state === "closed") return;
    const text = JSON.stringify(message);
    this.#connection.send(text);
    this.#parts.queues.sent(text.length);
  }

  /** Sends the reason, then closes. */
  close(reason: WeftError) {
    if (this.#state === "closed") return;
    if (this.queued > MAX_QUEUED_FOR_BYE) return this.abort(reason);
    this.#reason ??= reason;
    this.send({ type: "bye", code: reason.code, reason: plainSentence(reason.message) });
    this.#connection.close();
    this.#onClosed();
  }

  abort(reason: WeftError) {
    this.#reason ??= reason;
    this.#connection.abort();
    this.#onClosed();
  }

  #onText(text: string) {
    if (this.#state === "closed") return;
    if (!this.#messages.spend(1) || !this.#bytes.spend(text.length)) {
      return this.#fail("FLOOD", "the other end sends too much");
    }
    const message = this.#parts.protocols.parse(text);
    if (!message)
      return this.#fail("PROTOCOL", "the other end sent something that is not a message");
    this.#heardAt = this.#parts.clock.elapsed();
    if (isSessionMessage(message)) this.#onSessionMessage(message);
    else if (this.#state === "hello") this.#fail("PROTOCOL", NO_HELLO);
    else this.#events.message(this, message);
  }

  #onSessionMessage(message: SessionMessage) {
    if (message.type === "bye") this.#onBye(message);
    else if (this.#state === "hello") this.#onHello(message);
    else this.#onControl(message);
  }

  #onHello(message: InSession) {
    const { identity, instance } = this.#parts;
    if (message.type !== "hello") return this.#fail("PROTOCOL", NO_HELLO);
    if (message.protocol !== PROTOCOL_VERSION) {
      return this.#fail(
        "VERSION",
        `the other end speaks protocol ${message.protocol}, this node ${PROTOCOL_VERSION}`,
      );
    }
    const itsRole = this.role === "dialer" ? "listener" : "dialer";
    const text = this.#helloText(itsRole, message.key, message.instance);
    if (!identity.signatures.verify(message.key, text, message.signature)) {
      return this.#fail("IDENTITY", "the other end could not prove its identity");
    }
    if (message.key === identity.publicKey) {
      return message.instance === instance
        ? this.#fail("SELF", "the address is this node's own")
        : this.#fail("CLONE", `another node runs with this node's identity at ${this.remote}`);
    }
    this.#peer = { id: nodeId(message.key), publicKey: message.key, instance: message.instance };
    this.#messages = this.#parts.messages.of(this.#peer.id);
    this.#bytes = this.#parts.bytes.of(this.#peer.id);
    this.#state = "open";
    this.#cancel();
    this.#ping();
    this.#watchSilence();
    this.#events.opened(this);
  }

  #onControl(message: InSession) {
    switch (message.type) {
      case "hello":
        return this.#fail("PROTOCOL", "the other end said hello twice");
      case "ping":
        return this.send({ type: "pong", n: message.n, time: this.#parts.clock.now() });
      case "pong":
        return this.#onPong(message);
    }
  }

  #onBye({ code, reason }: SessionMessageOf<"bye">) {
    this.#reason ??= new WeftError(
      code,
      `the other end closed the session: ${reason}`,
      code === "OTHER_CLUSTER" ? KEEP_ONE : code === "SELF" ? OTHER_ADDRESS : "see its log",
    );
    this.#connection.close();
    this.#onClosed();
  }

  /** Pings an idle peer, reports a quiet one, and ends the session with a silent one. */
  #watchSilence() {
    const { clock } = this.#parts;
    const { least, most } = PING_AFTER;
    const patience = least + clock.random() * (most - least);
    const wait = this.#quietFor < patience ? patience - this.#quietFor : patience;
    const due = clock.elapsed() + wait;
    this.#cancel = clock.after(wait, () => {
      const now = clock.elapsed();
      // A late timer means that this process was suspended: the peer may have sent, so that time does not count.
      this.#heardAt = Math.min(now, this.#heardAt + Math.max(0, now - due));
      if (this.#quietFor >= IDLE_TIMEOUT)
        return this.#fail("SILENT", "nothing was heard from the other end");
      if (this.#quietFor >= least) this.#ping();
      this.#watchSilence();
      if (this.#quietFor >= QUIET_AFTER) this.#events.quiet(this);
    });
  }

  #ping() {
    const { clock } = this.#parts;
    const n = (this.#lastPing.n + 1) % 2 ** 31;
    this.#lastPing = { n, at: clock.elapsed(), time: clock.now() };
    this.send({ type: "ping", n });
  }

  #onPong({ n, time }: SessionMessageOf<"pong">) {
    if (n !== this.#lastPing.n) return;
    const { clock } = this.#parts;
    this.#rtt = tenths(clock.elapsed() - this.#lastPing.at);
    this.#offset = distanceOutside(time, this.#lastPing.time, clock.now());
  }

  #fail(code: string, message: string) {
    this.close(new WeftError(code, message, REMEDIES[code] ?? "see the log of the other end"));
  }

  #onClosed() {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#cancel();
    const lost = new WeftError("LOST", "the connection was lost", "it is dialled again");
    this.#events.closed(this, this.#reason ?? lost);
  }

  /** The channel binding ties the signature to this connection, and the role ties it to one end. */
  #helloText(role: Role, key: string, instance: string): string {
    const binding = Buffer.from(this.#connection.channelBinding).toString("hex");
    return `weft hello ${PROTOCOL_VERSION}\n${role}\n${key}\n${instance}\n${binding}`;
  }
}

const isSessionMessage = (message: Message): message is SessionMessage =>
  sessionSpec.schemas.has(message.type);

const NO_HELLO = "the other end did not say hello";

const OTHER_ADDRESS =
  "give --join an address of another node; the first node of a cluster has none";

const REMEDIES: { readonly [code: string]: string } = {
  VERSION: "run the same version of weft on all nodes",
  CLONE: "its state directory is a copy: stop it there, remove the copy, start it again",
  SELF: OTHER_ADDRESS,
  FLOOD: "find out what runs at that address",
};

/**
 * How far a time lies after the later of two others, or before the earlier (negative). The peer's
 * time of a pong is compared to those of ping and pong here: between them it shows no difference.
 */
function distanceOutside(time: number, one: number, other: number): number {
  const [earlier, later] = [Math.min(one, other), Math.max(one, other)];
  return time - Math.min(Math.max(time, earlier), later);
}

const tenths = (ms: number): number => Math.round(10 * ms) / 10;

/** Makes a text fit `field.sentence`; a text that is cut ends with three dots. */
export const plainSentence = (text: string): string => {
  const ascii = text.replace(/[^\x20-\x7e]/g, "?");
  return ascii.length > MAX_SENTENCE ? `${ascii.slice(0, MAX_SENTENCE - 3)}...` : ascii;
};
