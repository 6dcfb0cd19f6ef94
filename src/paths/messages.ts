/** Messages by which neighbours request and advertise paths through members. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";
import { MAX_RELAYS } from "./probe.js";

/** Most ids in a `route-request`. */
export const MAX_REQUEST_IDS = 256;
/** Most paths in a `route-update`. */
export const MAX_PATHS = 64;

export const pathSpec = protocolSpec("paths", [
  z.strictObject({
    type: z.literal("route-request"),
    ids: z.array(field.id).min(1).max(MAX_REQUEST_IDS),
  }),
  z.strictObject({
    type: z.literal("route-update"),
    paths: z
      .array(
        z.strictObject({
          to: field.id,
          /** Ids of the members between the sender and `to`, in order. Missing: the sender has no path. */
          path: z
            .array(field.id)
            .max(MAX_RELAYS - 1)
            .exactOptional(),
        }),
      )
      .min(1)
      .max(MAX_PATHS),
  }),
]);

export type PathMessage = MessagesOf<typeof pathSpec>;
