/**
 * Reads a file that a person named, if it is a regular file: a FIFO would block the reader, and a
 * device may never end.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";

export interface RegularFile {
  readonly bytes: Buffer;
  readonly stats: Stats;
}

/**
 * Follows symbolic links, since mounted configuration uses them.
 * @param most bytes
 * @throws an error with a `code`: that of the system call, `NOT_A_FILE`, or `EFBIG` for a longer file
 */
export function readRegularFile(path: string, most: number): RegularFile {
  // Without O_NONBLOCK, opening a FIFO waits for a writer.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw failure("NOT_A_FILE");
    return { bytes: readUpTo(fd, most), stats };
  } finally {
    closeSync(fd);
  }
}

/** Reads to the end, because the size from stat is wrong for a file in /proc and for one that grows. */
function readUpTo(fd: number, most: number): Buffer {
  const chunks: Buffer[] = [];
  for (let size = 0; ; ) {
    const chunk = Buffer.alloc(Math.min(64 * 1024, most + 1 - size));
    const n = readSync(fd, chunk);
    if (n === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, n));
    size += n;
    if (size > most) throw failure("EFBIG");
  }
}

const failure = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });

/** The reason why a file is not used, from an error of `readRegularFile`. */
export function whyUnreadable(error: unknown, most: number): string {
  const { code = String(error) } = error as NodeJS.ErrnoException;
  return (
    REASONS[code] ??
    (code === "EFBIG" ? `is larger than ${most} bytes` : `cannot be read (${code})`)
  );
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  NOT_A_FILE: "is not a regular file",
  // open(2) fails with it for a socket and for a device without a driver.
  ENXIO: "is not a regular file",
};
