import type { Message } from "./protocol.js";
import type { Session } from "./session.js";

/** The open sessions of a node, one for each peer, as a protocol with the messages `M` uses them. */
export interface Sessions<M extends Message = Message> {
  sessions(): readonly Session<M>[];
  sessionWith(id: string): Session<M> | undefined;
}
