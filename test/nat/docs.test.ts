/** The documents of docs/nat.md: the one is read, and does what the other expects of it. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { readNat } from "../../src/nat/document.js";
import { readNatExpectations, tryNatExpectations } from "../../src/nat/expectations.js";

const page = readFileSync(new URL("../../docs/nat.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text!);

it("docs/nat.md has a document, and expectations that it meets", () => {
  const [document, expected, ...others] = blocks;
  expect(others).toEqual([]);
  const outcomes = tryNatExpectations(
    readNat(document!, "docs/nat.md"),
    readNatExpectations(expected!, "docs/nat.md"),
  );
  expect(outcomes).toHaveLength(5);
  expect(outcomes.filter(({ isMet }) => !isMet)).toEqual([]);
});
