/** The cluster's policy as a kind of document. */
import type { DocumentKind } from "../documents/document-kind.js";
import { MAX_DOCUMENT_BYTES } from "../documents/sealed-document.js";
import { type PolicyFacts, readInPlace } from "./engine.js";

/** Texts are read in place here; the agent reads them in a thread of its own. */
export const POLICY: DocumentKind<PolicyFacts> = {
  name: "policy",
  title: "policy",
  maxBytes: MAX_DOCUMENT_BYTES,
  gatesPackets: true,
  read: readInPlace.read,
};
