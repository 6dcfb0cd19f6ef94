/** Nodes on hosts whose clock shows a time outside of the range of records. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { MAX_TIME } from "../../src/time/clock.js";
import { systemClock } from "../../src/time/system-clock.js";
import { World } from "./world.js";

const NOW = 1_700_000_000_000;
const YEAR = 365 * 24 * 3_600_000;

afterEach(() => void vi.useRealTimers());

describe.each([
  ["1969", -NOW - YEAR / 2, /clock of this host .* before 1970: set it right/],
  [
    "the year 10000",
    MAX_TIME - NOW + YEAR,
    /clock of this host .* after the year 9999: set it right/,
  ],
])("a host whose clock says %s", (_, ahead, problem) => {
  it("has a node that starts, says so, starts again, and is well when the clock is right", async () => {
    const world = new World();
    const a = await world.node(1, []);
    let b = await world.node(2, [1], undefined, { ahead });
    world.clock.run(10_000);
    const { leases } = b.mesh.self();
    expect(leases).toHaveLength(1);
    expect(b.mesh.problems()).toEqual([expect.stringMatching(problem)]);
    await world.kill(b);
    b = await world.node(2, [1], b.disk, { ahead });
    world.clock.run(60_000);
    expect(b.mesh.problems()).toEqual([expect.stringMatching(problem)]);
    b.clock.ahead = 0;
    world.clock.run(2 * 60_000);
    expect([...a.mesh.problems(), ...b.mesh.problems()]).toEqual([]);
    expect(b.mesh.self().leases).toEqual(leases);
    expect(a.mesh.members()).toMatchObject([{ state: "established" }]);
    expect(world.said.join("\n")).not.toMatch(/no message/);
  });

  it("has a founder that starts, says so, and is well when the clock is right", async () => {
    const world = new World();
    let a = await world.node(1, [], undefined, { ahead });
    world.clock.run(10_000);
    expect(a.mesh.problems()).toEqual([expect.stringMatching(problem)]);
    const { leases } = a.mesh.self();
    await world.kill(a);
    a = await world.node(1, [], a.disk, { ahead });
    await world.node(2, [1]);
    world.clock.run(10_000);
    a.clock.ahead = 0;
    world.clock.run(60_000);
    expect(a.mesh.problems()).toEqual([]);
    expect(a.mesh.self().leases).toEqual(leases);
    expect(a.mesh.members()).toHaveLength(1);
  });

  it("has a process that reads a time which records can say", () => {
    vi.useFakeTimers({ now: NOW + ahead, toFake: ["Date"] });
    expect(systemClock.now()).toBe(ahead < 0 ? 0 : MAX_TIME);
  });
});
