import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

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
    expect: { poll: { timeout: 15_000 } },
    // For two cores: first the files that compute, then those that wait.
    projects: [
      {
        extends: true,
        test: {
          name: "computing",
          include: ALL,
          exclude: WAITING,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "waiting",
          include: WAITING,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
