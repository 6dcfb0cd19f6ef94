import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { FileOrder } from "./test/file-order.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const ALL = ["test/**/*.test.ts"];
/** Files that wait for agents, programs and sockets more than they compute. */
const WAITING = [
  "test/netns/*.test.ts",
  "test/host/*.test.ts",
  "test/io/*.test.ts",
  "test/cli/*.test.ts",
  "test/mesh/memory.test.ts",
  "test/session/{admission-control,slow-readers,ws}.test.ts",
];

export default defineConfig({
  resolve: { alias: { weft: here("./src/index.ts") } },
  test: {
    // Limits, no measures: a busy machine takes its time.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 15_000, interval: 200 } },
    // For two cores: about three files that wait, and one that computes.
    maxWorkers: 4,
    sequence: { sequencer: FileOrder },
    projects: [
      { extends: true, test: { name: "waiting", include: WAITING } },
      {
        extends: true,
        // A process loads the code once for many files.
        test: { name: "computing", include: ALL, exclude: WAITING, isolate: false },
      },
    ],
  },
});
