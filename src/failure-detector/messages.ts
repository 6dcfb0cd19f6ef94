/** Messages of the failure detector: suspected members and the versions of their records. */
import { z } from "zod";
import { MAX_IDS, nodeVersionSchema } from "../gossip/messages.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

export const failureDetectorSpec = protocolSpec("failure-detector", [
  z.strictObject({ type: z.literal("suspect"), versions: z.array(nodeVersionSchema).max(MAX_IDS) }),
]);

export type FailureDetectorMessage = MessagesOf<typeof failureDetectorSpec>;
