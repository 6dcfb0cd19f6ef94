/** Messages of the session itself: the handshake, the keepalive and the end. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "./protocol.js";

/** Version of all protocols together. Both ends of a session must have the same one. */
export const PROTOCOL_VERSION = 4;
/** Longest message of any protocol, in bytes. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

export const sessionSpec = protocolSpec("session", [
  z.strictObject({
    type: z.literal("hello"),
    protocol: field.count,
    key: field.publicKey,
    instance: field.id,
    signature: field.signature,
  }),
  z.strictObject({ type: z.literal("ping"), n: field.count }),
  /** `time` is the sender's time of day. */
  z.strictObject({ type: z.literal("pong"), n: field.count, time: field.time }),
  z.strictObject({ type: z.literal("bye"), code: field.code, reason: field.sentence }),
]);

export type SessionMessage = MessagesOf<typeof sessionSpec>;
