import { expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import { Upkeep } from "../../src/host/upkeep.js";

it("a thing that cannot be restored is a problem until it can be, logged once, and stops no other", async () => {
  const logged: unknown[] = [];
  const upkeep = new Upkeep({ warn: (line: unknown) => logged.push(line) });
  let isBroken = true;
  let looks = 0;
  upkeep.add(() => {
    if (isBroken) throw new WeftError("SOCKET", "a file is in its place", "remove it");
  });
  upkeep.add(async () => {
    looks++;
  });
  await upkeep.check();
  await upkeep.check();
  expect(upkeep.problems).toEqual(["a file is in its place: remove it"]);
  isBroken = false;
  await upkeep.check();
  expect(upkeep.problems).toEqual([]);
  expect({ looks, logged }).toEqual({ looks: 3, logged: ["a file is in its place: remove it"] });
});

it("a fault of weft itself is no problem of the host", async () => {
  const upkeep = new Upkeep({ warn: () => {} });
  upkeep.add(() => {
    throw new TypeError("undefined is no function");
  });
  await expect(upkeep.check()).rejects.toThrow("undefined is no function");
});
