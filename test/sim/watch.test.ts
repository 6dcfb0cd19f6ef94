/** The watch of the simulation finds double leases, missing records and wrong routes. */
import { describe, expect, it } from "vitest";
import { SimDisk } from "../../src/sim/disk.js";
import { PowerCut } from "../../src/sim/process.js";
import { Random } from "../../src/sim/random.js";
import { Schedule } from "../../src/sim/schedule.js";
import { seed } from "../mesh/seed.js";
import { SECOND, worldOf } from "./worlds.js";

describe("the watch", () => {
  it("sees a lease that two nodes use", async () => {
    const world = await worldOf(3);
    expect(world.hasConverged()).toBe(true);
    expect(world.watch.doubleLeases).toEqual([]);
    const [first, second] = world.nodes;
    const { leases } = first!.mesh!.self();
    const self = second!.mesh!.self();
    second!.mesh!.self = () => ({ ...self, leases });
    second!.mesh!.emit("change");
    expect(world.watch.doubleLeases).toHaveLength(1);
    expect(world.watch.doubleLeases[0]).toContain(leases[0]);
  });

  it("counts a record as arrived only when the last node has it", async () => {
    const world = await worldOf(4);
    const [mover, ...others] = world.nodes;
    const apart = others.at(-1)!.machine;
    world.watch.followRecords();
    const heal = world.network.cut((from, to) => from === apart || to === apart);
    await mover!.move();
    await world.schedule.run(world.schedule.now + 5 * SECOND);
    expect(world.watch.convergence).toEqual([]);
    expect(world.watch.underway).toBe(1);
    heal();
    await world.schedule.run(world.schedule.now + 90 * SECOND);
    expect(world.watch.underway).toBe(0);
    expect(world.watch.convergence[0]).toBeGreaterThan(5 * SECOND);
  });

  it("names a node that does not know another", async () => {
    const world = await worldOf(3);
    const stranger = world.add();
    world.network.cut((from, to) => from === stranger.machine || to === stranger.machine);
    await world.start(stranger);
    await world.schedule.run(world.schedule.now + 20 * SECOND);
    expect(world.hasConverged()).toBe(false);
    expect(world.disagreement()).toBe(`${stranger.name} has no lease`);
  });

  it("names a node with a wrong route", async () => {
    const world = await worldOf(3);
    const [first, second, third] = world.nodes;
    expect(world.disagreement()).toBe(undefined);
    const mesh = first!.mesh!;
    const [gone, stays] = [second!, third!].map((node) => node.mesh!.self().id);
    const [lost, kept] = [mesh.peer(gone!)!, mesh.peer(stays!)!];
    mesh.takeChanged = () => new Set([gone!, stays!]);
    mesh.peer = (id) => (id === stays ? kept : undefined);
    const [lease] = second!.mesh!.self().leases;
    expect(world.disagreement()).toBe(
      `${first!.name} sends ${lease} to nobody, its holder is ${second!.name}`,
    );
    const both = { ...kept, leases: [...kept.leases, ...lost.leases] };
    mesh.peer = (id) => (id === stays ? both : undefined);
    expect(world.disagreement()).toBe(
      `${first!.name} sends ${lease} to ${third!.name}, its holder is ${second!.name}`,
    );
  });
});

describe("a simulated disk", () => {
  const before = { seed: "00".repeat(32), remembered: ["192.0.2.1:6783"] };
  const after = { ...before, remembered: [] };

  it("holds the old state or the new one when the power goes, and nothing else", () => {
    for (const [when, left] of [
      ["before", before],
      ["after", after],
    ] as const) {
      const disk = new SimDisk(before);
      disk.cutAtNextWrite = when;
      expect(() => disk.save(after)).toThrow(PowerCut);
      expect(disk.load()).toEqual(left);
    }
  });

  it("is refused when torn, wherever", () => {
    const random = new Random(seed);
    for (let i = 0; i < 200; i++) {
      const disk = new SimDisk(before);
      disk.tear(random);
      expect(() => disk.load()).toThrow(expect.objectContaining({ code: "STATE_CORRUPT" }));
    }
  });
});

describe("the schedule", () => {
  it("runs actions in order of time, then of scheduling, without cancelled ones", async () => {
    const random = new Random(seed);
    const schedule = new Schedule();
    const happened: [number, number][] = [];
    const asked: [number, number][] = [];
    for (let n = 0; n < 1000; n++) {
      const ms = random.below(50);
      const cancel = schedule.after(ms, () => void happened.push([schedule.now, n]));
      if (random.chance(0.2)) cancel();
      else asked.push([ms, n]);
    }
    await schedule.run(100);
    expect(happened).toEqual(asked.sort(([a, m], [b, n]) => a - b || m - n));
    expect(schedule.now).toBe(100);
  });
});
