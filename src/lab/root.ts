import { fileURLToPath } from "node:url";

/** The top folder of this checkout: two above, both from src/lab and from dist/lab. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
