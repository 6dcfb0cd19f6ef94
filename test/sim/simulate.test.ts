/** The simulation is reproducible, and its figures are within the promised bounds. */
import { describe, expect, it } from "vitest";
import { KINDS } from "../../src/sim/chaos.js";
import { scheduleOf } from "../../src/sim/schedules.js";
import { type SimulationOptions, simulate } from "../../src/sim/simulate.js";
import { seed } from "../mesh/seed.js";
import { rounds } from "../rounds.js";

/** Milliseconds, enough for a busy machine. */
const PATIENCE = 600_000;
const SOME = rounds(8, 12);
/** Minutes: up to three hours until the partition, a day until nodes may be forgotten, and 90 minutes for newcomers. */
const ONE_EXILE = 1_800;

const rough: SimulationOptions = { nodes: 7, loss: 0.05, seed, minutes: 1, chaos: KINDS };

describe("one seed", { timeout: PATIENCE }, () => {
  it("gives the same trace and figures again, another seed another trace", async () => {
    const first = await simulate(rough);
    expect(await simulate(rough)).toEqual(first);
    expect((await simulate({ ...rough, seed: seed + 1 })).trace).not.toBe(first.trace);
  });
});

describe("a quiet cluster", { timeout: PATIENCE }, () => {
  it("comes together, and every new record reaches all", async () => {
    const result = await simulate({ nodes: rounds(15, 25), loss: 0, seed, minutes: 3, chaos: [] });
    expect(result).toMatchObject({ converged: true, doubleLeases: 0, unowned: 0 });
    expect(result.convergence.count).toBeGreaterThan(20);
    expect(result.convergence.max).toBeGreaterThan(0);
    expect(result.perNodePerSecond.messages).toBeGreaterThan(0);
    expect(result.perNodePerSecond.wireBytes).toBeGreaterThan(result.perNodePerSecond.bytes);
  });

  it("takes longer over a lossy underlay, and comes together all the same", async () => {
    const options: SimulationOptions = { nodes: SOME, loss: 0, seed, minutes: 3, chaos: [] };
    const clean = await simulate(options);
    const lossy = await simulate({ ...options, loss: 0.3 });
    expect(lossy).toMatchObject({ converged: true, doubleLeases: 0 });
    expect(lossy.convergence.p99).toBeGreaterThan(clean.convergence.p99);
  });

  it("is measured with one loss after the other", async () => {
    const options: SimulationOptions = { nodes: SOME, loss: 0, seed, minutes: 3, chaos: [] };
    const result = await simulate({ ...options, before: [0, 0.3] });
    expect(result).toMatchObject({ converged: true, earlier: [{ loss: 0 }, { loss: 0.3 }] });
    const [clean, lossy] = result.earlier!;
    const all = [clean!, lossy!, result].map(({ convergence }) => convergence);
    for (const { count, open } of all) expect([count >= 50, open]).toEqual([true, 0]);
    expect(lossy!.convergence.p99).toBeGreaterThan(clean!.convergence.p99);
    expect(result.convergence.p99).toBeLessThan(lossy!.convergence.p99);
  });
});

describe("a cluster with faults", { timeout: PATIENCE }, () => {
  it("gives leases on the larger side of a split within 5 s, and agrees within 10 s after", async () => {
    const result = await simulate({ nodes: 9, loss: 0.01, seed, minutes: 5, chaos: ["splits"] });
    const { allocation, heal, open } = result.splits!;
    expect(result).toMatchObject({ converged: true, doubleLeases: 0 });
    expect(open).toBe(0);
    expect([allocation.count, heal.count].every((count) => count > 1)).toBe(true);
    expect(allocation.max).toBeLessThanOrEqual(5);
    expect(heal.max).toBeLessThanOrEqual(10);
  });

  it("sees every death within 15 s, and declares no node dead that is only paused", async () => {
    const result = await simulate({
      nodes: 15,
      loss: 0.01,
      seed,
      minutes: 10,
      chaos: ["deaths", "pauses"],
    });
    expect(result).toMatchObject({ converged: true, falseDeaths: 0, wrong: [] });
    expect(result.deaths.count).toBeGreaterThan(10);
    expect(result.deaths.unseen).toBe(0);
    expect(result.deaths.p99).toBeLessThanOrEqual(15);
  });

  it("never uses a lease twice when nodes are cut off for a day or more and forgotten where weft allows it", async () => {
    const options: SimulationOptions = {
      nodes: rounds(3, 4),
      loss: 0,
      seed,
      minutes: rounds(ONE_EXILE, 2_700),
      chaos: ["longPartitions", "skew"],
    };
    const result = await simulate(options);
    expect(result).toMatchObject({ converged: true, doubleLeases: 0, doubles: [] });
  });

  it.each([
    [100023, "the only one with space left came back to strangers"],
    [100377, "all disks were lost"],
  ])("heals, as in the schedule of seed %d, in which %s", async (schedule) => {
    const result = await simulate(scheduleOf(schedule));
    expect(result).toMatchObject({ converged: true, doubleLeases: 0 });
  });
});
