/** Every kind of record besides `node` that nodes of this version read. A new one is added here, and where its part is made. */
import { DOCUMENTS } from "../documents/in-force.js";
import { RecordKinds } from "../gossip/record-kind.js";

export const RECORD_KINDS = new RecordKinds([DOCUMENTS]);
