/** Text on disk that shows when it is torn: a line with a checksum of the body, then the body. */
import { createHash } from "node:crypto";

export const addChecksum = (kind: string, body: string): string =>
  `weft ${kind} 1 ${checksum(body)}\n${body}`;

/** The body; undefined when it is torn or of another kind. */
export function stripChecksum(kind: string, text: string): string | undefined {
  const end = Math.max(text.indexOf("\n"), 0);
  const body = text.slice(end + 1);
  return text.slice(0, end) === `weft ${kind} 1 ${checksum(body)}` ? body : undefined;
}

const checksum = (body: string): string => createHash("sha256").update(body).digest("hex");
