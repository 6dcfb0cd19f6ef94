import { mkdirSync, rmdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a directory and those above it, where they are missing.
 * @returns a function that removes the ones it made, as far as they are empty
 */
export function makeDirectory(path: string, mode: number): () => void {
  const first = mkdirSync(path, { recursive: true, mode });
  return () => {
    if (first === undefined) return;
    try {
      for (let made = path; made.length >= first.length; made = dirname(made)) rmdirSync(made);
    } catch {
      // Not empty, or gone already: either way it is not ours to remove.
    }
  };
}
