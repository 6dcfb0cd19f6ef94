/** Sentences for the operator about a document that is not held or not accepted. */
import type { DocumentKind } from "../documents/document-kind.js";
import type { Seal } from "../documents/sealed-document.js";
import { WeftError } from "../error.js";

/** Begins the sentence about a document that is lacking. */
const gate = ({ gatesPackets }: DocumentKind): string =>
  gatesPackets ? "no packet passes yet: " : "";

export const unknown = (kind: DocumentKind): string =>
  `${gate(kind)}no member has said whether there is a ${kind.title}; wait for one, or apply a ${kind.title} here`;

export const unreadable = (kind: DocumentKind): string =>
  `${gate(kind)}the ${kind.title} on disk cannot be read any more; apply a ${kind.title} on any node`;

export const textMissing = (kind: DocumentKind, version: number, author: string): string =>
  `${gate(kind)}the text of ${kind.title} ${version}, applied on ${author}, has not come; wait for it, or apply a ${kind.title} here`;

export const tooLong = ({ title, maxBytes }: DocumentKind): WeftError =>
  new WeftError(
    "DOCUMENT_SIZE",
    `the ${title} is longer than ${maxBytes} bytes as JSON`,
    "say the same in less: let one entry name more addresses and ports",
  );

export const otherText = ({ kind }: Seal): WeftError =>
  new WeftError(
    "DOCUMENT_FORGED",
    `the text that came is not the one of which the seal of the ${kind} speaks`,
    "find out what runs at that address; if it is not yours, change the cluster secret",
  );
