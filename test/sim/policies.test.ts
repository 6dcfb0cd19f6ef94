/** All nodes end up with one policy, after partitions and crashes. */
import { describe, expect, it } from "vitest";
import { POLICY } from "../../src/policy/kind.js";
import type { SimNode } from "../../src/sim/node.js";
import type { World } from "../../src/sim/world.js";
import { seed } from "../mesh/seed.js";
import { rounds } from "../rounds.js";
import { SECOND, worldOf } from "./worlds.js";

const NODES = 9;
const ROUNDS = rounds(3, 12);

const policy = (name: string): string =>
  JSON.stringify({ policies: [{ name, applies: ["10.64.0.0/16"], ingress: [] }] });

const held = ({ mesh }: SimNode) => mesh?.document(POLICY)?.seal;
const texts = (nodes: readonly SimNode[]) =>
  new Set(nodes.map(({ mesh }) => mesh?.document(POLICY)?.text));
const wait = (world: World, seconds: number) =>
  world.schedule.run(world.schedule.now + seconds * SECOND);

describe("a policy", () => {
  it("is one and the same for all after every partition, though each side applied its own", async () => {
    console.log(`WEFT_SEED=${seed}`);
    const world = await worldOf(NODES);
    const { random } = world;
    for (let round = 0; round < ROUNDS; round++) {
      const left = new Set(world.nodes.filter(() => random.chance(0.5)));
      const right = world.nodes.filter((node) => !left.has(node));
      const machines = new Set([...left].map(({ machine }) => machine));
      const heal = world.network.cut((from, to) => machines.has(from) !== machines.has(to));
      for (const side of [[...left], right]) {
        for (let n = random.below(3); n >= 0 && side.length > 0; n--) {
          random.pick(side)!.mesh!.applyDocument(POLICY, policy(`p${random.hex(4)}`));
        }
      }
      // One of them loses its power, and starts again from its disk when the network is whole.
      const victim = random.pick(world.nodes)!;
      await wait(world, random.between(0.1, 40));
      const applied = world.running().map((node) => held(node)?.version ?? 0);
      await victim.end("power");
      heal();
      await world.start(victim);
      await wait(world, 90);
      expect(world.running()).toHaveLength(NODES);
      expect(texts(world.nodes).size, `round ${round}`).toBe(1);
      expect(held(victim)!.version).toBe(Math.max(...applied));
    }
  });
});
