/** The protocols of a node: the specs by which messages are checked, and the protocols that run. */

import { MAX_MESSAGE_BYTES } from "./messages.js";
import type { Message, Protocol, ProtocolSpec } from "./protocol.js";
import type { Session } from "./session.js";

export class ProtocolRegistry {
  /** By message type. */
  readonly #specs = new Map<string, ProtocolSpec>();
  readonly #running = new Map<string, Protocol>();

  constructor(specs: readonly ProtocolSpec[]) {
    for (const spec of specs) {
      for (const type of spec.schemas.keys()) {
        const other = this.#specs.get(type);
        if (other) throw new Error(`${other.name} and ${spec.name} both have a message ${type}`);
        this.#specs.set(type, spec);
      }
    }
  }

  /** Types of all known messages. */
  get types(): string[] {
    return [...this.#specs.keys()];
  }

  /** The message; undefined when the text is not a valid message of a known protocol. */
  parse(text: string): Message | undefined {
    if (text.length > MAX_MESSAGE_BYTES) return undefined;
    try {
      const value: Partial<Message> | null = JSON.parse(text);
      const type = value?.type ?? "";
      return this.#specs.get(type)?.schemas.get(type)?.safeParse(value).data;
    } catch {
      return undefined;
    }
  }

  /** Starts a protocol and tells it the sessions that are open already. */
  start(protocol: Protocol, sessions: readonly Session[]): void {
    this.#running.set(protocol.spec.name, protocol);
    protocol.start?.();
    for (const session of sessions) protocol.opened?.(session);
  }

  /** Stops all protocols, in the reverse order of their starts. */
  stop(): void {
    for (const protocol of [...this.#running.values()].reverse()) protocol.stop?.();
    this.#running.clear();
  }

  opened(session: Session): void {
    for (const protocol of this.#running.values()) protocol.opened?.(session);
  }

  closed(session: Session): void {
    for (const protocol of this.#running.values()) protocol.closed?.(session);
  }

  /** Passes a message to its protocol; ignores it when that does not run here. */
  received(session: Session, message: Message): void {
    const spec = this.#specs.get(message.type);
    if (spec) this.#running.get(spec.name)?.received(session, message);
  }
}
