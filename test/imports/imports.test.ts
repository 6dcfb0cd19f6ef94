import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { imports, isUpward, layerOf, SRC } from "./graph.js";
import { LAYERS } from "./layers.js";

it("every folder and file of src/ has its place among the layers", () => {
  const found = readdirSync(SRC).filter((name) => !name.endsWith(".mjs"));
  expect([...LAYERS].sort()).toEqual(found.sort());
});

it("no import points up", () => {
  const all = imports();
  expect(all.length).toBeGreaterThan(1_000);
  expect(all.filter(isUpward)).toEqual([]);
});

it("leases import nothing of the mesh", () => {
  const layers = imports()
    .filter(({ from }) => layerOf(from) === "lease")
    .map(({ to }) => layerOf(to));
  expect(new Set(layers)).toEqual(new Set(["address.ts", "error.ts", "identity", "lease", "time"]));
});
