/** Bursts of probes to a member that is silent elsewhere, with a manual clock. */
import { expect, it } from "vitest";
import {
  BURST_DURATION,
  BURST_PROBE_EVERY,
  BurstProber,
  MAX_BURSTS,
} from "../../src/paths/burst-prober.js";
import { ManualClock } from "../time/manual-clock.js";

const IN_ALL = BURST_DURATION / BURST_PROBE_EVERY;

function world() {
  const clock = new ManualClock();
  const heard: string[] = [];
  const knocks = new BurstProber(clock);
  knocks.on("due", (id) => heard.push(id));
  return { clock, heard, knocks };
}

it("a member that does not answer is probed until the time is over, and no longer", () => {
  const { clock, heard, knocks } = world();
  knocks.begin("a");
  clock.run(BURST_PROBE_EVERY);
  expect(heard).toEqual(["a"]);
  clock.run(10 * BURST_DURATION);
  expect(heard).toHaveLength(IN_ALL);
});

it("a member that is silent for longer is probed for longer, and never twice at once", () => {
  const { clock, heard, knocks } = world();
  for (let n = 0; n < 4; n++) {
    knocks.begin("a");
    knocks.begin("a");
    clock.run(BURST_DURATION / 2);
  }
  clock.run(BURST_DURATION);
  expect(heard).toHaveLength((5 / 2) * IN_ALL);
});

it("a member that answers is left alone, and probed again when that is requested again", () => {
  const { clock, heard, knocks } = world();
  knocks.begin("a");
  knocks.begin("b");
  clock.run(3 * BURST_PROBE_EVERY);
  knocks.cancel("a");
  heard.length = 0;
  clock.run(2 * BURST_PROBE_EVERY);
  expect(heard).toEqual(["b", "b"]);
  knocks.begin("a");
  clock.run(BURST_PROBE_EVERY);
  expect(heard).toEqual(["b", "b", "b", "a"]);
});

it("a limited number of members is probed at the same time, and none takes another's place", () => {
  const { clock, heard, knocks } = world();
  for (let n = 0; n < 2 * MAX_BURSTS; n++) knocks.begin(`m${n}`);
  knocks.begin("m0");
  clock.run(BURST_PROBE_EVERY);
  expect(heard).toEqual(Array.from({ length: MAX_BURSTS }, (_, n) => `m${n}`));
});

it("no member is probed after the stop", () => {
  const { clock, heard, knocks } = world();
  knocks.begin("a");
  knocks.stop();
  clock.run(BURST_DURATION);
  expect(heard).toEqual([]);
});
