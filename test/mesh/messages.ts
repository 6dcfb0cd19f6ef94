/** All messages that nodes send each other, and their parser. */

import { PROTOCOLS } from "../../src/mesh/protocols.js";
import type {
  Message as AnyMessage,
  MessagesOf,
  MessageOf as Of,
} from "../../src/session/protocol.js";
import { ProtocolRegistry } from "../../src/session/protocol-registry.js";

export type Message = MessagesOf<(typeof PROTOCOLS)[number]>;
export type MessageOf<T extends Message["type"]> = Of<Message, T>;

export const protocols = new ProtocolRegistry(PROTOCOLS);

/** The types of all messages. */
export const KINDS = protocols.types;

export const parseMessage = (text: string): Message | undefined => {
  const message: AnyMessage | undefined = protocols.parse(text);
  return message as Message | undefined;
};
