/** A protocol: what nodes say to each other about one subject, and the part of a node that does. */
import type { z } from "zod";
import type { Session } from "./session.js";

/** A message as it travels: one JSON object a frame. Its type names it in all protocols. */
export type Message = { readonly type: string; readonly [field: string]: unknown };

/** The message of type `T` among the messages `M` of a protocol. */
export type MessageOf<M extends Message, T extends M["type"]> = Extract<M, { readonly type: T }>;

/** A protocol's name, and by type the schema of each of its messages. No field is extra, none is unlimited. */
export interface ProtocolSpec<M extends Message = Message> {
  readonly name: string;
  readonly schemas: ReadonlyMap<string, z.ZodType<M>>;
}

export type MessagesOf<S extends ProtocolSpec> = S extends ProtocolSpec<infer M> ? M : never;

type MessageSchema = z.ZodObject<{ readonly type: z.ZodLiteral<string> }>;

export function protocolSpec<S extends MessageSchema>(
  name: string,
  schemas: readonly S[],
): ProtocolSpec<z.infer<S>> {
  const byType = new Map<string, unknown>(
    schemas.map((schema) => [schema.shape.type.value, schema]),
  );
  return { name, schemas: byType as ReadonlyMap<string, z.ZodType<z.infer<S>>> };
}

/** The part of a node that speaks a protocol. It sends the messages of its own protocol only. */
export interface Protocol<M extends Message = Message> {
  readonly spec: ProtocolSpec<M>;
  start?(): void;
  stop?(): void;
  /** A session is open: one that opens now, or that was open when the protocol started. */
  opened?(session: Session<M>): void;
  closed?(session: Session<M>): void;
  received(session: Session<M>, message: M): void;
}
