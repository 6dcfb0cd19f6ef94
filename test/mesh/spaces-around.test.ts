import { expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { World } from "./world.js";

it("a node knows the owner of the space around a subnet, unless it is itself", async () => {
  const world = new World();
  const first = await world.node(1, []);
  const second = await world.node(2, [1]);
  world.clock.run(20_000);
  const network = first.mesh.self().network[0]!;
  const [lease] = second.mesh.self().leases.map(parsePrefix);
  const [own] = first.mesh.self().leases.map(parsePrefix);
  const half = { ...lease!, length: lease!.length + 1 };
  const outside = parsePrefix("198.51.100.0/24");
  const around = (node: typeof first) => node.mesh.spacesAround([own!, half, outside]);

  const [mine, theirs, nobody] = around(first);
  expect([mine, nobody]).toEqual([undefined, undefined]);
  expect(theirs?.owner).toBe("h2");
  expect(around(second)).toEqual([
    { prefix: expect.any(String), owner: "h1" },
    undefined,
    undefined,
  ]);
  const [free] = second.mesh.spacesAround([parsePrefix(network.replace(/\/\d+$/, "/30"))]);
  expect(free).toEqual({ prefix: network, owner: "h1" });
});
