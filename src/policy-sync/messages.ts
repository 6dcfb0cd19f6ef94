/** How the cluster's policy is announced, asked for and sent in parts. */
import { z } from "zod";
import { MAX_PART_TEXT, MAX_PARTS, sealSchema } from "../documents/sealed-policy.js";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

const part = z
  .int()
  .min(0)
  .max(MAX_PARTS - 1);

export const policySpec = protocolSpec("policy", [
  z.strictObject({ type: z.literal("policy-have"), seal: sealSchema }),
  /** The sender holds no policy. `isCertain`: it knows that the cluster has none. */
  z.strictObject({ type: z.literal("policy-none"), isCertain: z.boolean() }),
  z.strictObject({ type: z.literal("policy-want"), digest: field.digest, part }),
  z.strictObject({
    type: z.literal("policy-part"),
    digest: field.digest,
    part,
    bytes: field.base64.max(MAX_PART_TEXT),
  }),
]);

export type PolicyMessage = MessagesOf<typeof policySpec>;
