import { existsSync, mkdirSync, rmdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a directory and its missing parents. Node's own `recursive` never returns below /proc, where
 * no directory can be made.
 * @returns a function that removes the directories it made, as far as they are empty
 */
export function makeDirectory(path: string, mode: number): () => void {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
  const made: string[] = [];
  const remove = () => {
    for (const one of made.splice(0)) {
      try {
        rmdirSync(one);
      } catch {
        // It is not empty or already gone: not this process's to remove.
      }
    }
  };
  try {
    for (const one of missing.reverse()) if (make(one, mode)) made.unshift(one);
    if (!statSync(path).isDirectory()) throw new Error(`${path} is not a directory`);
  } catch (error) {
    remove();
    throw error;
  }
  return remove;
}

/** False when another process made it in the meantime. */
function make(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST" && existsSync(path)) return false;
    throw error;
  }
}

/** The remedy for a directory that cannot be written to. */
export function remedyFor(error: unknown, otherwise: string): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOSPC":
    case "EDQUOT":
      return "make room on the disk, or choose another --state directory";
    case "EROFS":
      return "make its file system writable again (mount -o remount,rw), or choose another --state directory";
    default:
      return otherwise;
  }
}
