/** The reader of JSON beside the library's reader of YAML, which JSON is too. */
import { describe, expect, it } from "vitest";
import { mostValues, parseJson } from "../../src/config/json.js";
import type { TreeNode } from "../../src/config/tree.js";
import { parseYaml } from "../../src/config/yaml.js";
import { random, seedOfRun } from "../packets.js";

const rnd = random(seedOfRun("json"));
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(all: readonly T[]): T => all[below(all.length)]!;

const TEXTS = [
  "",
  "a",
  "10.0.0.1/8",
  'quo"te',
  "back\\slash",
  "line\nbreak",
  "\u00e9\u20ac",
  "a: b",
  "#",
];
const NUMBERS = [0, -1, 80, 1.5, 1e21, 1e-7];

function value(depth: number): unknown {
  const kind = below(depth > 4 ? 3 : 6);
  if (kind === 0) return pick(TEXTS);
  if (kind === 1) return pick(NUMBERS);
  if (kind === 2) return pick([true, false, null]);
  const members = Array.from({ length: below(4) }, () => value(depth + 1));
  if (kind === 3) return members;
  return Object.fromEntries(members.map((member, i) => [`${pick(TEXTS)}${i}`, member]));
}

describe("the JSON reader", () => {
  it("sees what the YAML reader sees, at the same places", () => {
    for (let i = 0; i < 500; i++) {
      const text = JSON.stringify(value(0), null, pick([0, 1, 2]));
      expect(parseJson(text)).toEqual(parseYaml(text, "x", "X").root);
    }
  });

  it.each([
    "",
    "{",
    "[1,]",
    "{,}",
    '{"a":1,}',
    "{a: 1}",
    "[01]",
    "[1.]",
    "[+1]",
    "[nul]",
    "[1 2]",
    '["\u0001"]',
    "['a']",
    "1 2",
    '"\\x"',
    "[NaN]",
    `${"[".repeat(40)}${"]".repeat(40)}`,
  ])("leaves to others what is not JSON: %s", (text) => {
    expect(parseJson(text)).toBeUndefined();
  });

  it("takes all that JSON.parse takes, and nothing else", () => {
    const isJson = (text: string) => {
      try {
        JSON.parse(text);
        return true;
      } catch {
        return false;
      }
    };
    for (let i = 0; i < 3000; i++) {
      const text = JSON.stringify(value(0), null, pick([0, 1]));
      const at = below(text.length);
      const changed =
        text.slice(0, at) + pick(["", ",", '"', "}", "]", "1", "\\", " "]) + text.slice(at + 1);
      expect([changed, parseJson(changed) !== undefined]).toEqual([changed, isJson(changed)]);
    }
  });
  it("knows how many values there are at most, without reading them", () => {
    const count = (node: TreeNode): number => {
      if (node.kind === "text") return 1;
      if (node.kind === "list") return node.items.reduce((sum, item) => sum + count(item), 1);
      return node.pairs.reduce((sum, { value }) => sum + 1 + count(value), 1);
    };
    for (let i = 0; i < 500; i++) {
      const text = JSON.stringify(value(0), null, pick([0, 1]));
      expect(mostValues(text)).toBeGreaterThanOrEqual(count(parseJson(text)!));
    }
    expect(mostValues('{"a,[{:": ["b,", {}]}')).toBe(6);
  });
});
