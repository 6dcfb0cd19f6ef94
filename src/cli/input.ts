/** Reads what a person names on the command line: a file, a pipe, or `-` for stdin. */
import { createReadStream } from "node:fs";

/** Means stdin where a file is asked for. */
export const STDIN = "-";

/** The name of an input in messages. */
export const inputName = (path: string): string => (path === STDIN ? "<stdin>" : path);

/**
 * Reads to the end. The bound holds for what is read, since the size of a pipe or a device is unknown.
 * @param most bytes
 * @throws an error with `code`: of the system call, or `EFBIG` where there is more
 */
export async function readInput(path: string, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of path === STDIN ? process.stdin : createReadStream(path)) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > most) throw Object.assign(new Error("too long"), { code: "EFBIG" });
  }
  return Buffer.concat(chunks);
}
