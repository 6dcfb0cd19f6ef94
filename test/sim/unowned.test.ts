/** Space without an owner, compared with a slow twin that checks every possible lease. */
import { describe, expect, it } from "vitest";
import { covers, parsePrefix } from "../../src/address.js";
import { subnetOf } from "../../src/lease/grant.js";
import type { SimNode } from "../../src/sim/node.js";
import type { World } from "../../src/sim/world.js";
import { SECOND, worldOf } from "./worlds.js";

/** The network of these worlds has 256 leases. */
const ALL = Array.from({ length: 256 }, (_, n) => parsePrefix(`10.64.${n}.0/24`));

const slowlyUnowned = (world: World): number =>
  ALL.filter((lease) => {
    const isIn = (prefix: string) => covers(parsePrefix(prefix), lease);
    const owns = ({ disk, publicKey }: SimNode): boolean => {
      const { genesis, journal, spaces, leases, revoked: gone } = disk.last.cluster!;
      if (leases.some((proof) => isIn(subnetOf(proof)))) return true;
      const isFounder = genesis.founder === publicKey;
      const isGiven = journal.some(
        (grant) => isIn(grant.prefix) && !gone.includes(grant.signature),
      );
      return !isGiven && (isFounder || spaces.some((proof) => isIn(subnetOf(proof))));
    };
    return !world.nodes.some(owns);
  }).length;

describe("unowned space", () => {
  it("is zero while all nodes are there, and the space of a lost disk after that", async () => {
    const world = await worldOf(9);
    expect([world.unowned(), slowlyUnowned(world)]).toEqual([0, 0]);
    expect(world.spare()).toBe(256 - 9);
    for (const place of [3, 5]) {
      await world.nodes[place]!.end("power");
      await world.replace(world.nodes[place]!);
      await world.schedule.run(world.schedule.now + 30 * SECOND);
      expect(world.hasConverged()).toBe(true);
      expect(world.unowned()).toBe(slowlyUnowned(world));
      expect(world.spare()).toBe(256 - 9 - world.unowned());
    }
    expect(world.unowned()).toBeGreaterThan(0);
  });
});
