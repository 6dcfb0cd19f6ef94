import { fileURLToPath } from "node:url";

/** The top folder of this checkout, two levels above both src/lab and dist/lab. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
