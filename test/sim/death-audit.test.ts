/** The death audit finds deaths, and running nodes that are declared dead. */
import { describe, expect, it } from "vitest";
import { nodeId } from "../../src/identity/identity.js";
import type { SimNode } from "../../src/sim/node.js";
import type { World } from "../../src/sim/world.js";
import { SECOND, worldOf } from "./worlds.js";

const idOf = ({ publicKey }: SimNode): string => nodeId(publicKey);
const pass = (world: World, seconds: number) =>
  world.schedule.run(world.schedule.now + seconds * SECOND);

describe("verdicts", () => {
  it("tell how long a death takes to be seen by all", async () => {
    const world = await worldOf(6);
    await pass(world, 30);
    const [, dead] = world.nodes;
    await dead!.end("power");
    await pass(world, 60);
    world.deathAudit.finish();
    expect(world.deathAudit).toMatchObject({ unseen: 0, wrong: [] });
    expect(world.deathAudit.deaths).toEqual(world.deathAudit.seenByAll);
    expect(world.deathAudit.deaths).toHaveLength(1);
    expect(world.deathAudit.deaths[0]).toBeGreaterThan(5 * SECOND);
  });

  it("are counted apart for nodes that were paused meanwhile", async () => {
    const world = await worldOf(6);
    await pass(world, 30);
    const [, dead, asleep] = world.nodes;
    await dead!.end("power");
    asleep!.pause(25 * SECOND);
    await pass(world, 90);
    world.deathAudit.finish();
    expect(world.deathAudit.deaths[0]).toBeLessThan(25 * SECOND);
    expect(world.deathAudit.seenByAll[0]).toBeGreaterThan(25 * SECOND);
  });

  it("include nodes that never declared a death, though there was time", async () => {
    const world = await worldOf(4);
    await pass(world, 30);
    const [blind, dead] = world.nodes;
    blind!.mesh!.removeAllListeners("stateChanged");
    await dead!.end("power");
    await pass(world, 60);
    await world.start(dead!);
    expect(world.deathAudit.unseen).toBe(1);
    expect(world.deathAudit.deaths).toEqual([]);
  });

  it("ignore a node that announces its stop, or was just started", async () => {
    const world = await worldOf(4);
    const [, stopped, young] = world.nodes;
    await young!.end("power");
    await world.start(young!);
    await young!.end("power");
    await stopped!.end("stop");
    await pass(world, 60);
    world.deathAudit.finish();
    expect(world.deathAudit).toMatchObject({ deaths: [], unseen: 0, wrong: [] });
  });

  it("are wrong when the node runs, and no cut kept it from the others", async () => {
    const world = await worldOf(4);
    await pass(world, 30);
    const [judge, alive] = world.nodes;
    judge!.mesh!.emit("stateChanged", idOf(alive!), true);
    expect(world.deathAudit.wrong).toHaveLength(1);
    expect(world.deathAudit.wrong[0]).toContain(`${judge!.name} declared ${alive!.name} dead`);
    expect(world.disagreement()).toBe(`${judge!.name} has declared ${alive!.name} dead`);
    judge!.mesh!.emit("stateChanged", idOf(alive!), false);
    expect(world.disagreement()).toBe(undefined);
  });

  it("are not wrong while the network is cut, nor soon after", async () => {
    const world = await worldOf(4);
    await pass(world, 30);
    const [judge, alive] = world.nodes;
    const heal = world.network.cut(() => true);
    await pass(world, 30);
    heal();
    await pass(world, 10);
    judge!.mesh!.emit("stateChanged", idOf(alive!), true);
    expect(world.deathAudit.wrong).toEqual([]);
    await pass(world, 15);
    judge!.mesh!.emit("stateChanged", idOf(alive!), true);
    expect(world.deathAudit.wrong).toHaveLength(1);
  });
});
