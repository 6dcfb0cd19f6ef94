/** The documents of docs/policy.md: each is read, and does what the page expects of it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readPolicy } from "../../src/policy/document.js";
import { readExpectations, tryExpectations } from "../../src/policy/expectations.js";

const page = readFileSync(new URL("../../docs/policy.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text!);
const isExpectations = (text: string) => /^expect:/m.test(text);

describe("docs/policy.md", () => {
  it.each(blocks.filter((text) => !isExpectations(text)))(
    "has a document that is right:\n%s",
    (text) => {
      expect(
        readPolicy(text, "docs/policy.md").tiers.flatMap(({ policies }) => policies),
      ).not.toEqual([]);
    },
  );

  const pairs = blocks.flatMap((text, i) => (isExpectations(text) ? [[blocks[i - 1]!, text]] : []));

  it("expects something of four examples", () => {
    expect(pairs).toHaveLength(4);
  });

  it.each(pairs)("says what this document does:\n%s\n%s", (policy, expectations) => {
    const outcomes = tryExpectations(
      readPolicy(policy!, "docs/policy.md"),
      readExpectations(expectations!, "docs/policy.md", new Map()),
    );
    expect(outcomes.filter(({ isMet }) => !isMet)).toEqual([]);
  });
});
