/** The intervals at which a node dials addresses that do not answer. */
import { expect, it } from "vitest";
import { BACKOFF } from "../../src/session/connection-manager.js";
import { MemoryDisk, World } from "../mesh/world.js";

const TEN_MINUTES = 600_000;

/** A world in which all dials fail, with their times by the dialling node. */
function shut() {
  const world = new World();
  const tries = new Map<string, number[]>();
  world.network.mayDial = (from) => {
    tries.set(from, [...(tries.get(from) ?? []), world.clock.elapsed()]);
    return false;
  };
  const waits = (from: string) => {
    const times = tries.get(from) ?? [];
    return times.slice(1).map((at, i) => at - times[i]!);
  };
  return { world, tries, waits };
}

it("at once, then less and less often, each at its own times", async () => {
  const { world, waits } = shut();
  await world.node(1, []);
  const others = [2, 3, 4];
  for (const n of others) await world.node(n, [1]);
  world.clock.run(TEN_MINUTES);
  for (const n of others) {
    const all = waits(`192.0.2.${n}`);
    expect(all[0]).toBeLessThan(1_000);
    expect(all.length).toBeLessThan(50);
    const late = all.slice(-15);
    for (const wait of late) {
      expect(wait).toBeGreaterThanOrEqual(BACKOFF.most / 2);
      expect(wait).toBeLessThan(BACKOFF.most + 100);
    }
    expect(Math.max(...late) - Math.min(...late)).toBeGreaterThan(BACKOFF.most / 10);
  }
  const [two, three] = others.map((n) => waits(`192.0.2.${n}`).join());
  expect(two).not.toBe(three);
});

it("itself once, and never again", async () => {
  const world = new World();
  let tries = 0;
  world.network.mayDial = (from, to) => {
    if (from === to) tries++;
    return true;
  };
  const both = [1, 2].map((n) => ({ host: `192.0.2.${n}`, port: 6783 }));
  await world.node(1, []);
  await world.node(2, [1], new MemoryDisk(), { join: both });
  world.clock.run(TEN_MINUTES);
  expect(tries).toBe(1);
});
