/** How a member that is silent elsewhere is knocked at, in time that is moved by hand. */
import { expect, it } from "vitest";
import { KNOCK_EVERY, KNOCK_FOR, Knocks, MAX_KNOCKED } from "../../src/paths/knocks.js";
import { HandClock } from "./hand-clock.js";

const IN_ALL = KNOCK_FOR / KNOCK_EVERY;

function world() {
  const clock = new HandClock();
  const heard: string[] = [];
  return { clock, heard, knocks: new Knocks(clock, (id) => void heard.push(id)) };
}

it("who does not answer is knocked at until the time is over, and no longer", () => {
  const { clock, heard, knocks } = world();
  knocks.at("a");
  clock.run(KNOCK_EVERY);
  expect(heard).toEqual(["a"]);
  clock.run(10 * KNOCK_FOR);
  expect(heard).toHaveLength(IN_ALL);
});

it("who is silent for longer is knocked at for longer, and never twice at once", () => {
  const { clock, heard, knocks } = world();
  for (let n = 0; n < 4; n++) {
    knocks.at("a");
    knocks.at("a");
    clock.run(KNOCK_FOR / 2);
  }
  clock.run(KNOCK_FOR);
  expect(heard).toHaveLength((5 / 2) * IN_ALL);
});

it("who answers is left alone, and knocked at again when it is called for again", () => {
  const { clock, heard, knocks } = world();
  knocks.at("a");
  knocks.at("b");
  clock.run(3 * KNOCK_EVERY);
  knocks.end("a");
  heard.length = 0;
  clock.run(2 * KNOCK_EVERY);
  expect(heard).toEqual(["b", "b"]);
  knocks.at("a");
  clock.run(KNOCK_EVERY);
  expect(heard).toEqual(["b", "b", "b", "a"]);
});

it("so many are knocked at at the same time and no more, and nobody's place is taken", () => {
  const { clock, heard, knocks } = world();
  for (let n = 0; n < 2 * MAX_KNOCKED; n++) knocks.at(`m${n}`);
  knocks.at("m0");
  clock.run(KNOCK_EVERY);
  expect(heard).toEqual(Array.from({ length: MAX_KNOCKED }, (_, n) => `m${n}`));
});

it("nobody is knocked at after the stop", () => {
  const { clock, heard, knocks } = world();
  knocks.at("a");
  knocks.stop();
  clock.run(KNOCK_FOR);
  expect(heard).toEqual([]);
});
