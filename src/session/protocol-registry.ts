/** The protocols of a node: every known spec, against which each message is checked, and those that run. */

import { MAX_MESSAGE_BYTES } from "./messages.js";
import type { Message, Protocol, ProtocolSpec } from "./protocol.js";
import type { Session } from "./session.js";

export class ProtocolRegistry {
  /** The protocol that each type of message belongs to. */
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

  /** Nothing when the text is not a message of a known protocol. */
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

  /** Starts a protocol, which then meets the peers that are there already. */
  start(protocol: Protocol, sessions: readonly Session[]): void {
    this.#running.set(protocol.spec.name, protocol);
    protocol.start?.();
    for (const session of sessions) protocol.opened?.(session);
  }

  /** In the reverse order of the starts. */
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

  /** A message of a protocol that does not run here is ignored. */
  received(session: Session, message: Message): void {
    const spec = this.#specs.get(message.type);
    if (spec) this.#running.get(spec.name)?.received(session, message);
  }
}
