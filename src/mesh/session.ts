/**
 * One session with one peer. First each end proves who it is (`hello`), then
 * messages flow until one end says `bye`, breaks a rule, or falls silent.
 */
import { WeftError } from "../error.js";
import { Budget } from "./budget.js";
import { type Clock, every } from "./clock.js";
import { type Identity, nodeId, verified } from "./identity.js";
import {
  MAX_MESSAGE_BYTES,
  type Message,
  type MessageOf,
  PROTOCOL,
  parseMessage,
} from "./message.js";
import type { Connection } from "./transport.js";

/** All in milliseconds. */
export const HELLO_WITHIN = 5_000;
export const PING_EVERY = 4_000;
export const SILENCE = 15_000;
/** Messages and bytes a peer may send at once, and per second after that. */
export const BURST = { messages: 2_000, bytes: 256 * MAX_MESSAGE_BYTES };
export const RATE = { messages: 200, bytes: 16 * MAX_MESSAGE_BYTES };

export interface SessionParts {
  readonly clock: Clock;
  readonly identity: Identity;
  /** 16 bytes in hex, drawn for this run: tells this process from a copy with the same identity. */
  readonly instance: string;
}

export interface SessionEvents {
  opened(session: Session): void;
  message(session: Session, message: Message): void;
  closed(session: Session, reason: WeftError): void;
}

export interface Remote {
  readonly id: string;
  readonly publicKey: string;
  readonly instance: string;
}

export type Role = "dialer" | "listener";

export class Session {
  readonly #connection: Connection;
  readonly #parts: SessionParts;
  readonly #events: SessionEvents;
  readonly #messages: Budget;
  readonly #bytes: Budget;
  #state: "new" | "hello" | "open" | "closed" = "new";
  #peer: Remote | undefined;
  #heard: number;
  #ping = { n: 0, at: 0 };
  #rtt: number | undefined;
  #reason: WeftError | undefined;
  #cancels: (() => void)[] = [];

  constructor(
    connection: Connection,
    readonly role: Role,
    parts: SessionParts,
    events: SessionEvents,
  ) {
    this.#connection = connection;
    this.#parts = parts;
    this.#events = events;
    this.#messages = new Budget(parts.clock, BURST.messages, RATE.messages);
    this.#bytes = new Budget(parts.clock, BURST.bytes, RATE.bytes);
    this.#heard = parts.clock.elapsed();
  }

  /** Who the other end has proved to be. Known from `opened` on. */
  get peer(): Remote {
    if (!this.#peer) throw new Error("the session is not open yet");
    return this.#peer;
  }

  get hasPeer(): boolean {
    return this.#peer !== undefined;
  }

  get remote(): string {
    return this.#connection.remote;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Milliseconds, of the last ping that was answered. */
  get rttMs(): number | undefined {
    return this.#rtt;
  }

  start() {
    const { clock, identity, instance } = this.#parts;
    this.#state = "hello";
    this.#cancels.push(
      clock.after(HELLO_WITHIN, () => {
        if (this.#state === "hello") this.#fail("SILENT", "the other end did not say who it is");
      }),
    );
    this.#connection.open({
      message: (text) => this.#received(text),
      closed: () => this.#ended(),
    });
    const signature = identity.sign(this.#helloText(this.role, identity.publicKey, instance));
    this.send({ type: "hello", protocol: PROTOCOL, key: identity.publicKey, instance, signature });
  }

  send(message: Message) {
    if (this.#state !== "closed") this.#connection.send(JSON.stringify(message));
  }

  /** Says why, then closes. */
  close(reason: WeftError) {
    if (this.#state === "closed") return;
    this.#reason ??= reason;
    this.send({ type: "bye", code: reason.code, reason: plain(reason.message) });
    this.#connection.close();
    this.#ended();
  }

  #received(text: string) {
    if (this.#state === "closed") return;
    if (!this.#messages.spend(1) || !this.#bytes.spend(text.length)) {
      return this.#fail("FLOOD", "the other end sends too much");
    }
    const message = parseMessage(text);
    if (!message) return this.#fail("PROTOCOL", "the other end sent something that is no message");
    this.#heard = this.#parts.clock.elapsed();
    if (message.type === "bye") return this.#bye(message);
    if (this.#state === "hello") this.#inHello(message);
    else this.#inOpen(message);
  }

  #inHello(message: Message) {
    const { identity, instance } = this.#parts;
    if (message.type !== "hello") return this.#fail("PROTOCOL", "the other end did not say hello");
    if (message.protocol !== PROTOCOL) {
      return this.#fail(
        "VERSION",
        `the other end speaks protocol ${message.protocol}, this node ${PROTOCOL}`,
      );
    }
    const itsRole = this.role === "dialer" ? "listener" : "dialer";
    const text = this.#helloText(itsRole, message.key, message.instance);
    if (!verified(message.key, text, message.signature)) {
      return this.#fail("IDENTITY", "the other end could not prove its identity");
    }
    if (message.key === identity.publicKey) {
      return message.instance === instance
        ? this.#fail("SELF", "the address is this node's own")
        : this.#fail("CLONE", `another node runs with this node's identity at ${this.remote}`);
    }
    this.#peer = { id: nodeId(message.key), publicKey: message.key, instance: message.instance };
    this.#state = "open";
    this.#cancels.push(every(this.#parts.clock, PING_EVERY, () => this.#beat()));
    this.#beat();
    this.#events.opened(this);
  }

  #inOpen(message: Message) {
    switch (message.type) {
      case "hello":
        return this.#fail("PROTOCOL", "the other end said hello twice");
      case "ping":
        return this.send({ type: "pong", n: message.n });
      case "pong":
        if (message.n === this.#ping.n)
          this.#rtt = tenths(this.#parts.clock.elapsed() - this.#ping.at);
        return;
      default:
        return this.#events.message(this, message);
    }
  }

  #bye({ code, reason }: MessageOf<"bye">) {
    this.#reason ??= new WeftError(
      code,
      `the other end closed the session: ${reason}`,
      "see its log",
    );
    this.#connection.close();
    this.#ended();
  }

  #beat() {
    const now = this.#parts.clock.elapsed();
    if (now - this.#heard > SILENCE)
      return this.#fail("SILENT", "nothing was heard from the other end");
    this.#ping = { n: (this.#ping.n + 1) % 2 ** 31, at: now };
    this.send({ type: "ping", n: this.#ping.n });
  }

  #fail(code: string, message: string) {
    this.close(new WeftError(code, message, REMEDIES[code] ?? "see the log of the other end"));
  }

  #ended() {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const cancel of this.#cancels) cancel();
    const lost = new WeftError("LOST", "the connection was lost", "it is dialled again");
    this.#events.closed(this, this.#reason ?? lost);
  }

  /** The binding makes a signature good for this connection alone, the role for this end of it. */
  #helloText(role: Role, key: string, instance: string): string {
    const binding = Buffer.from(this.#connection.binding).toString("hex");
    return `weft hello ${PROTOCOL}\n${role}\n${key}\n${instance}\n${binding}`;
  }
}

const REMEDIES: { readonly [code: string]: string } = {
  VERSION: "run the same version of weft on all nodes",
  CLONE: "its state directory is a copy: stop it there, remove the copy, start it again",
  FLOOD: "find out what runs at that address",
};

const tenths = (ms: number): number => Math.round(10 * ms) / 10;

const plain = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 400);
