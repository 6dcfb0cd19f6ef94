import { describe, expect, it } from "vitest";
import { ReplayWindow, WINDOW } from "../../src/paths/replay-window.js";
import { Random } from "../../src/sim/random.js";
import { seed } from "../mesh/seed.js";

describe("a replay window", () => {
  it("accepts each count once, in any order it has room for, as a list of all that came says too", () => {
    const random = new Random(seed);
    const window = new ReplayWindow();
    const all = new Set<number>();
    let newest = 0;
    for (let i = 0; i < 5_000; i++) {
      const count = Math.max(0, i + random.below(2 * WINDOW) - WINDOW);
      const isNew = count > newest - WINDOW && !all.has(count);
      expect([count, window.accept("00000001", count)]).toEqual([count, isNew]);
      all.add(count);
      newest = Math.max(newest, count);
    }
  });

  it("goes on after the last count there is", () => {
    const window = new ReplayWindow();
    const counts = Array.from({ length: 2 * WINDOW }, (_, i) => (2 ** 32 - WINDOW + i) % 2 ** 32);
    expect(counts.map((count) => window.accept("00000001", count))).toEqual(counts.map(() => true));
    expect(counts.filter((count) => window.accept("00000001", count))).toEqual([]);
  });

  it("begins anew with another run of the member", () => {
    const window = new ReplayWindow();
    expect(window.accept("00000001", 900)).toBe(true);
    expect(window.accept("00000002", 1)).toBe(true);
    expect(window.accept("00000002", 1)).toBe(false);
  });
});
