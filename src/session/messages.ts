/** What the two ends of a session say before and beside all protocols. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "./protocol.js";

/** Version of everything that nodes say to each other. */
export const PROTOCOL_VERSION = 4;
/** Of any message of any protocol, in bytes. */
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
  /** `time`: what its sender's clock says. */
  z.strictObject({ type: z.literal("pong"), n: field.count, time: field.time }),
  z.strictObject({ type: z.literal("bye"), code: field.code, reason: field.sentence }),
]);

export type SessionMessage = MessagesOf<typeof sessionSpec>;
