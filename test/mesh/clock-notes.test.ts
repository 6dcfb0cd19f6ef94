/** The notes of `weft status` when the clocks of nodes differ. */
import { describe, expect, it } from "vitest";
import { clockNotes, MAX_CLOCK_DIFFERENCE, NAMED_CLOCKS } from "../../src/mesh/clock-notes.js";
import { illegal } from "./legal.js";
import { World } from "./world.js";

const HOUR = 3_600_000;
const NOON = Date.UTC(2026, 10, 30, 12, 0, 3);

const member = (name: string, aheadMs: number) => ({ name, aheadMs });

describe("clock notes", () => {
  it("say nothing where no clock is off by more than what counts as equal", () => {
    expect(clockNotes([], NOON)).toEqual([]);
    const edges = [MAX_CLOCK_DIFFERENCE, -MAX_CLOCK_DIFFERENCE];
    expect(
      clockNotes(
        edges.map((ahead) => member("h2", ahead)),
        NOON,
      ),
    ).toEqual([]);
  });

  it("of two clocks that differ name both, and say what depends on it and what to do", () => {
    expect(clockNotes([member("h2", -2 * HOUR)], NOON)).toEqual([
      "the clock of h2 is 2 h 0 min behind this host's; either may be wrong (h2: " +
        "2026-11-30T10:00:03Z, here: 2026-11-30T12:00:03Z): leases stay safe, but times in logs and " +
        "lists are wrong, and a node whose clock is set right by 23 h or more stops until the granters " +
        "of its lease confirm it; run an NTP client there (chrony, systemd-timesyncd)",
    ]);
  });

  it("say which clock is wrong where most agree", () => {
    const [other] = clockNotes([member("h2", 0), member("h3", 25 * HOUR)], NOON);
    expect(other).toMatch(
      /^the clock of h3 is 1 d 1 h ahead of this host's and most others \(h3: 2026-12-01T13/,
    );
    const halves = clockNotes([member("h2", 90_000), member("h3", 90_500), member("h4", 0)], NOON);
    expect(halves).toEqual([/h3/, /h2/].map(() => expect.stringMatching(/either may be wrong/)));
    const here = clockNotes([member("h2", 2 * HOUR), member("h3", 2 * HOUR + 20)], NOON);
    expect(here).toHaveLength(1);
    expect(here[0]).toMatch(
      /^this host's clock is 2 h 0 min behind that of h2 and most others \(h2: 2026-11-30T14:00:03Z, here: 2026-11-30T12:00:03Z\)/,
    );
  });

  it("name those that are furthest off, and stay short however many lie", () => {
    const most = Date.UTC(9999, 0);
    const names = (sign: number) =>
      Array.from({ length: 20 }, (_, i) => member("n".repeat(63), sign * (most - i * 1e6)));
    for (const members of [names(1), names(-1), [...names(1), ...names(-1)]]) {
      const notes = clockNotes(members, NOON);
      expect(notes.length).toBeLessThanOrEqual(NAMED_CLOCKS);
      for (const note of notes) expect(note.length).toBeLessThan(600);
    }
  });
});

describe("nodes whose clocks differ", () => {
  const started = async (...ahead: number[]) => {
    const world = new World();
    const nodes: Awaited<ReturnType<World["node"]>>[] = [];
    for (const [i, ms] of ahead.entries()) {
      nodes.push(await world.node(i + 1, i === 0 ? [] : [1], undefined, { ahead: ms }));
    }
    world.clock.run(20_000);
    return { world, nodes, notes: () => nodes.map(({ mesh }) => mesh.notes()) };
  };

  it("both say so while it lasts, are no less healthy, and say no more when it is set right", async () => {
    const { world, nodes, notes } = await started(0, -2 * HOUR);
    expect(notes()).toEqual([
      [expect.stringMatching(/^the clock of h2 is 2 h 0 min behind this host's; .*h2: .*, here: /)],
      [
        expect.stringMatching(
          /^the clock of h1 is 2 h 0 min ahead of this host's; .*h1: .*, here: /,
        ),
      ],
    ]);
    expect(nodes.map(({ mesh }) => mesh.problems())).toEqual([[], []]);
    nodes[1]!.clock.ahead = 0;
    world.clock.run(20_000);
    expect(notes()).toEqual([[], []]);
  });

  it("most say whose is wrong, and that one says it of itself", async () => {
    const { notes } = await started(0, 0, 3 * HOUR, 0);
    const [h1, h2, h3, h4] = notes();
    for (const others of [h1, h2, h4]) {
      expect(others).toEqual([
        expect.stringMatching(/^the clock of h3 is 3 h 0 min ahead of .* most others/),
      ]);
    }
    expect(h3).toEqual([
      expect.stringMatching(/^this host's clock is 3 h 0 min ahead of that of h\d/),
    ]);
  });

  it("keep their sessions, however far a clock is from any year", async () => {
    const { world, notes } = await started(
      0,
      (400_000_000 * HOUR) / 1000,
      -800_000 * HOUR,
      200_000_000 * HOUR,
    );
    world.clock.run(60_000);
    expect(illegal).toEqual([]);
    expect(world.said.join("\n")).not.toMatch(/no message|session .* ended/);
    expect(notes().every((said) => said.length > 0)).toBe(true);
  });
});
