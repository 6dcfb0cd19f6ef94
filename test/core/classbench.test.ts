/**
 * Thousands of filters of the ClassBench kind: the core finds the very filter that
 * trying each in turn finds. With WEFT_CLASSBENCH=DIR for the files there as well.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  entriesOf,
  type Filter,
  findLinearly,
  headerFrom,
  makeFilters,
  readFilters,
} from "../../bench/classbench.js";
import { Acl } from "../../src/compile/acl.js";
import { random, seedOfRun } from "../packets.js";
import { rounds } from "../rounds.js";
import { AclCore } from "./acl-core.js";

const HEADERS = rounds(20_000, 200_000);
const DIR = process.env.WEFT_CLASSBENCH;
const rnd = random(seedOfRun("classbench"));

const sets: [string, () => Filter[]][] = [
  ["made here", () => makeFilters(8000, rnd)],
  ...(DIR === undefined
    ? []
    : readdirSync(DIR)
        .filter((name) => name.endsWith(".rules"))
        .map((name): [string, () => Filter[]] => [name, () => readFilters(join(DIR, name))])),
];

describe("access lists beside the linear matcher", () => {
  it.each(sets)("%s", { timeout: 120_000 }, async (_, make) => {
    const filters = make();
    const acl = new Acl();
    acl.update([entriesOf(filters), []]);
    const core = await AclCore.create();
    core.paint(acl);
    let found = 0;
    for (let i = 0; i < HEADERS; i++) {
      const { src, dst, ...rest } = headerFrom(filters, rnd);
      // Not all are drawn from one filter: some ends are another's.
      const far = rnd() < 0.8 ? dst : headerFrom(filters, rnd).dst;
      const header = {
        ...rest,
        near: { family: 4, value: BigInt(src) },
        far: { family: 4, value: BigInt(far) },
      } as const;
      const expected = findLinearly(filters, { ...rest, src, dst: far });
      const { number } = core.decide(0, header);
      if (number !== (expected < 0 ? undefined : expected + 1)) {
        expect.fail(`${JSON.stringify({ ...rest, src, far })}: ${number}, not ${expected + 1}`);
      }
      if (expected >= 0) found++;
    }
    expect(found).toBeGreaterThan(HEADERS / 2);
  });
});
