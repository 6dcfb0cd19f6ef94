/** Reads the file, the pipe or stdin (`-`) that the command line names. */
import { createReadStream } from "node:fs";

/** Stands for stdin in place of a file name. */
export const STDIN = "-";

/** The name of an input in messages. */
export const inputName = (path: string): string => (path === STDIN ? "<stdin>" : path);

/**
 * Reads to the end. The bound applies to the bytes read, since a pipe or a device has no size.
 * @param most bytes
 * @throws an error with `code`: that of the system call, or `EFBIG` for a longer input
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
