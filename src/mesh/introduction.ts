/** The first protocol of a session: each end says which cluster it belongs to, once it knows. */
import { z } from "zod";
import { type Genesis, genesisSchema } from "../lease/genesis.js";
import { type MessagesOf, type Protocol, protocolSpec } from "../session/protocol.js";
import type { Session } from "../session/session.js";

export const introductionSpec = protocolSpec("introduction", [
  z.strictObject({ type: z.literal("cluster"), genesis: genesisSchema }),
]);

export type IntroductionMessage = MessagesOf<typeof introductionSpec>;

export interface IntroductionParts {
  /** Nothing until the cluster is known. */
  genesis(): Genesis | undefined;
  /** A peer belongs to the cluster of this genesis. */
  learned(session: Session, genesis: Genesis): void;
}

export class Introduction implements Protocol<IntroductionMessage> {
  readonly spec = introductionSpec;
  readonly #parts: IntroductionParts;

  constructor(parts: IntroductionParts) {
    this.#parts = parts;
  }

  opened(session: Session<IntroductionMessage>): void {
    const genesis = this.#parts.genesis();
    if (genesis) session.send({ type: "cluster", genesis });
  }

  received(session: Session<IntroductionMessage>, { genesis }: IntroductionMessage): void {
    this.#parts.learned(session, genesis);
  }
}
