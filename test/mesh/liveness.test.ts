/** Deaths and pauses, in the simulated network of src/sim, where segments are lost and processes stand still. */
import { describe, expect, it } from "vitest";
import { ANSWER_WITHIN } from "../../src/mesh/liveness.js";
import type { SimNode } from "../../src/sim/node.js";
import { Random } from "../../src/sim/random.js";
import { World } from "../../src/sim/world.js";
import { seed } from "./seed.js";

const PAUSE = 5_000;

/** So many nodes that know each other, and what they say of each other's life. */
async function cluster(count: number, loss: number, number = seed) {
  const world = new World({ seed: number, loss, network: "10.64.0.0/12", chaos: new Set() });
  for (let n = 0; n < count; n++) {
    const node = world.add();
    world.schedule.after(100 * n, () => world.start(node));
  }
  const verdicts: string[] = [];
  await world.schedule.run(100 * count + 30_000);
  expect(world.disagreement()).toBeUndefined();
  for (const { mesh, name } of world.running()) {
    mesh!.on("verdict", (id, isDead) => {
      const other = world.running().find((one) => one.mesh!.self().id === id)?.name ?? "the dead";
      verdicts.push(`${name}: ${other} ${isDead ? "is dead" : "lives"}`);
    });
  }
  const run = (ms: number) => world.schedule.run(world.schedule.now + ms);
  return { world, verdicts, run };
}

const stateOf = (node: SimNode, name: string) =>
  node.mesh!.members().find((member) => member.name === name)?.state;

/** Milliseconds until each of the others holds this one for dead. */
async function seenAfter({ world, run }: Awaited<ReturnType<typeof cluster>>, name: string) {
  const blind = new Set(world.running());
  const times: number[] = [];
  for (let ms = 100; blind.size > 0 && ms <= 60_000; ms += 100) {
    await run(100);
    for (const node of blind) {
      if (stateOf(node, name) !== "unreachable") continue;
      blind.delete(node);
      times.push(ms);
    }
  }
  return times;
}

describe("of forty nodes one", () => {
  it("that loses its power is dead to all within 15 s, and lives again when it is back", async () => {
    const all = await cluster(40, 0.05);
    const { world, run, verdicts } = all;
    const victim = world.nodes[17]!;
    await victim.end("power");
    const times = await seenAfter(all, victim.name);
    expect(times).toHaveLength(39);
    expect(Math.max(...times)).toBeLessThanOrEqual(15_000);
    expect(Math.min(...times)).toBeGreaterThan(ANSWER_WITHIN);
    expect(verdicts).toHaveLength(39);

    await world.start(victim);
    await run(10_000);
    for (const node of world.running().filter((one) => one !== victim)) {
      expect(stateOf(node, victim.name)).toBe("established");
    }
  });

  it("that is killed is dead to all within 9 s: its kernel closes its connections", async () => {
    const all = await cluster(40, 0.05);
    const victim = all.world.nodes[17]!;
    await victim.end("kill");
    const times = await seenAfter(all, victim.name);
    expect(times).toHaveLength(39);
    expect(Math.max(...times)).toBeLessThanOrEqual(9_000);
  });
});

describe("pauses of 5 s", () => {
  it("are no deaths, though all forty nodes make them at random for half an hour", async () => {
    const { world, run, verdicts } = await cluster(40, 0.05);
    const random = new Random(seed);
    const pause = (node: SimNode) => {
      node.pause(PAUSE);
      world.schedule.after(PAUSE + random.between(0, 60_000), () => pause(node));
    };
    for (const node of world.nodes)
      world.schedule.after(random.between(0, 60_000), () => pause(node));
    await run(1800_000);
    expect(verdicts).toEqual([]);
  }, 120_000);
});
