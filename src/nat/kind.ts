/** The cluster's address translation as a kind of document. Its facts are the document itself. */
import type { DocumentKind } from "../documents/document-kind.js";
import { MAX_DOCUMENT_BYTES } from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import { type NatDocument, readSealedNat } from "./document.js";

export const NAT: DocumentKind<NatDocument> = {
  name: "nat",
  title: "translation document",
  maxBytes: MAX_DOCUMENT_BYTES,
  gatesPackets: true,
  read: (text, done) => done(read(text)),
};

function read(text: string): NatDocument | WeftError {
  try {
    return readSealedNat(text, "nat");
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
}
