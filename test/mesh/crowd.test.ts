/** A holder of the secret makes up identities and opens a session with each. */
import { expect, it } from "vitest";
import { MAX_SESSIONS } from "../../src/session/connection-manager.js";
import { Stranger } from "./stranger.js";
import { World } from "./world.js";

it("strangers that fill all sessions of a node keep no member out: the oldest of them go", async () => {
  const world = new World();
  const first = await world.node(1, []);
  const second = await world.node(2, [1]);
  world.clock.run(5_000);
  const crowd = Array.from({ length: MAX_SESSIONS + 50 }, (_, i) => new Stranger(world, 100 + i));
  for (const stranger of crowd) stranger.connect({ wait: 1 });
  world.clock.run(100);
  const open = crowd.filter(({ isClosed }) => !isClosed);
  expect(open.length).toBeLessThan(MAX_SESSIONS);
  expect(open.length).toBeGreaterThan(MAX_SESSIONS - 10);
  expect(crowd[0]!.heard.at(-1)).toMatch(/"code":"CROWDED"/);
  const third = await world.node(3, [1]);
  world.clock.run(5_000);
  for (const { mesh } of [first, second, third]) {
    expect(mesh.members().map(({ state }) => state)).toEqual(["established", "established"]);
  }
});
