/** A protocol: the messages about one subject, and the part of a node that exchanges them. */
import type { z } from "zod";
import type { Session } from "./session.js";

/** One JSON object in one frame. Its type is unique among all protocols. */
export type Message = { readonly type: string; readonly [field: string]: unknown };

/** The message of type `T` among the messages `M` of a protocol. */
export type MessageOf<M extends Message, T extends M["type"]> = Extract<M, { readonly type: T }>;

/** A protocol's name and its schemas by message type. Schemas are strict, and limit every field. */
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

/** The part of a node that implements a protocol. It sends only messages of that protocol. */
export interface Protocol<M extends Message = Message> {
  readonly spec: ProtocolSpec<M>;
  start?(): void;
  stop?(): void;
  /** A session has opened, or was open when the protocol started. */
  opened?(session: Session<M>): void;
  closed?(session: Session<M>): void;
  received(session: Session<M>, message: M): void;
}
