/**
 * The YAML library. It takes longer to load than most verbs of `weft` take to run, and most verbs and
 * threads never read YAML, so it is loaded when the first text is read.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const yamlLibrary = (): typeof import("yaml") => require("yaml");
