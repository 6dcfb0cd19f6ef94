/** How paths through other members are sought and offered. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";
import { MAX_RELAYS } from "./probe.js";

/** Of members in a `seek`. */
export const MAX_REQUEST_IDS = 256;
/** Of paths in an `offer`. */
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
          /** The members between the offering one and `to`, in turn. Missing: there is no path any more. */
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
