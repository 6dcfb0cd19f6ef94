/** The subjects of records: each kind has a name, a limit and a schema of its own. */
import { z } from "zod";

/** Of the body of a record in bytes; for kinds that this node does not know, the only limit. */
export const MAX_BODY_BYTES = 16 * 1024;

export const recordKindName = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/);

/** The kind of the record that makes its owner a member. */
export const NODE = "node";

/** Every kind but `node` that this node knows. Its limit and schema hold for as long as the protocol version. */
export interface RecordKind<Content = unknown> {
  readonly name: string;
  /** Of a body. */
  readonly maxBytes: number;
  readonly schema: z.ZodType<Content>;
  /** Whether neighbours are sent a new version in full. If not, it is announced, and they ask for it. */
  readonly isUrgent: boolean;
}

export class RecordKinds {
  readonly #kinds = new Map<string, RecordKind>();

  constructor(kinds: readonly RecordKind[]) {
    for (const kind of kinds) {
      if (kind.name === NODE || this.#kinds.has(kind.name)) {
        throw new Error(`there are two kinds of record named ${kind.name}`);
      }
      this.#kinds.set(kind.name, kind);
    }
  }

  get(name: string): RecordKind | undefined {
    return this.#kinds.get(name);
  }
}
