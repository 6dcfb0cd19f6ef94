import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { imports, isUpward, roomOf, SRC } from "./graph.js";
import { ROOMS } from "./rooms.js";

it("every folder and file of src/ has its place among the rooms", () => {
  const found = readdirSync(SRC).filter((name) => !name.endsWith(".mjs"));
  expect([...ROOMS].sort()).toEqual(found.sort());
});

it("no import points up", () => {
  const all = imports();
  expect(all.length).toBeGreaterThan(1_000);
  expect(all.filter(isUpward)).toEqual([]);
});

it("leases import nothing of the mesh", () => {
  const rooms = imports()
    .filter(({ from }) => roomOf(from) === "lease")
    .map(({ to }) => roomOf(to));
  expect(new Set(rooms)).toEqual(new Set(["address.ts", "error.ts", "identity", "lease", "time"]));
});
