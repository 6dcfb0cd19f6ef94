/** How cluster documents of all kinds are announced, asked for and sent in parts. */
import { z } from "zod";
import { kindName, MAX_PART_TEXT, MAX_PARTS, sealSchema } from "../documents/sealed-document.js";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";
import type { Session } from "../session/session.js";

const part = z
  .int()
  .min(0)
  .max(MAX_PARTS - 1);

export const documentSpec = protocolSpec("documents", [
  /** The sender holds the document of this seal, which names its kind. */
  z.strictObject({ type: z.literal("document-have"), seal: sealSchema }),
  /** The sender holds no document of this kind. `isCertain`: it knows that the cluster has none. */
  z.strictObject({ type: z.literal("document-none"), kind: kindName, isCertain: z.boolean() }),
  z.strictObject({ type: z.literal("document-want"), kind: kindName, digest: field.digest, part }),
  z.strictObject({
    type: z.literal("document-part"),
    kind: kindName,
    digest: field.digest,
    part,
    bytes: field.base64.max(MAX_PART_TEXT),
  }),
]);

export type DocumentMessage = MessagesOf<typeof documentSpec>;
export type DocumentSession = Session<DocumentMessage>;
