/** The imports of `src/` by layer, as they stand in the files. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { LAYERS } from "./layers.js";

export const SRC = join(import.meta.dirname, "../../src");

export interface Import {
  /** Files, relative to `src/`. */
  readonly from: string;
  readonly to: string;
}

const RELATIVE = /(?:from|import)\s*\(?\s*"(\.[^"]+)\.js"/g;

export function imports(): Import[] {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"))
    .flatMap((from) =>
      [...readFileSync(join(SRC, from), "utf8").matchAll(RELATIVE)].map(([, path]) => ({
        from,
        to: relative(SRC, join(SRC, dirname(from), `${path}.ts`)),
      })),
    );
}

/** The folder of a file, or the file where it stands beside the folders. */
export const layerOf = (file: string): string => file.split("/")[0]!;

/** Whether an import leads to a layer that is not below its own. */
export const isUpward = ({ from, to }: Import): boolean =>
  LAYERS.indexOf(layerOf(to)) > LAYERS.indexOf(layerOf(from));
