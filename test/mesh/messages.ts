/** Every message that nodes send each other, and how a node reads one. */
import type {
  Message as AnyMessage,
  MessagesOf,
  MessageOf as Of,
} from "../../src/mesh/protocol.js";
import { ProtocolRegistry } from "../../src/mesh/protocol-registry.js";
import { PROTOCOLS } from "../../src/mesh/protocols.js";

export type Message = MessagesOf<(typeof PROTOCOLS)[number]>;
export type MessageOf<T extends Message["type"]> = Of<Message, T>;

export const protocols = new ProtocolRegistry(PROTOCOLS);

/** The types of message there are. */
export const KINDS = protocols.types;

export const parseMessage = (text: string): Message | undefined => {
  const message: AnyMessage | undefined = protocols.parse(text);
  return message as Message | undefined;
};
