/** A document after another: what stands in both is not read again, and nobody sees that. */
import { describe, expect, it } from "vitest";
import { type PolicyDocument, readPolicy } from "../../src/policy/document.js";
import { placeOfRule } from "../../src/policy/place.js";
import { seedOfRun } from "../packets.js";
import { rounds } from "../rounds.js";
import { Maker, type Plain } from "./random.js";

const ROUNDS = rounds(500, 5_000);
const seed = seedOfRun("policy again");

/** The document, or what is said of its mistake. */
function outcome(text: string, before?: PolicyDocument): PolicyDocument | string {
  try {
    return readPolicy(text, "p", before);
  } catch (error) {
    return String(error);
  }
}

/** Changes that a person makes, those that are mistakes included. */
function changed(make: Maker, document: Plain): Plain {
  const next = make.change(document);
  const { policies, groups, tiers } = next;
  const one = policies[make.below(policies.length)];
  switch (make.below(10)) {
    case 0:
      if (one) policies.splice(make.below(policies.length), 0, structuredClone(one));
      break;
    case 1:
      policies.reverse();
      break;
    case 2:
      delete groups[make.pick(["a", "b"])];
      break;
    case 3:
      groups.c = [make.member()];
      break;
    case 4:
      tiers.pop();
      break;
    case 5:
      if (one) (tiers as unknown[]).push(structuredClone(one));
      break;
    case 6:
      policies.pop();
      break;
  }
  return next;
}

/** One character gone, doubled or another, now and then. */
function misspelt(make: Maker, text: string): string {
  if (make.below(4) > 0) return text;
  const at = make.below(text.length);
  const put = make.pick(["", text.slice(at, at + 2), '"', "{", "}", "\\", "\n", ","]);
  return text.slice(0, at) + put + text.slice(at + 1);
}

describe("a document read after another", () => {
  it("is what it is alone, and so are its mistakes", () => {
    const make = new Maker(seed);
    let plain = make.document();
    let before: PolicyDocument | undefined;
    const seen = { right: 0, wrong: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const next = changed(make, plain);
      const text = misspelt(make, JSON.stringify(next, null, make.pick([0, 2, 2, 2])));
      const after = outcome(text, before);
      expect(after).toEqual(outcome(text));
      if (typeof after === "string") {
        seen.wrong++;
        continue;
      }
      seen.right++;
      before = after;
      plain = next;
    }
    expect(Math.min(seen.right, seen.wrong)).toBeGreaterThan(ROUNDS / 10);
  });

  it("has the same policies, on other lines", () => {
    const policy = (name: string, port: number) => ({
      name,
      applies: ["10.0.0.1"],
      ingress: [{ action: "allow", protocol: "tcp", ports: [port] }],
    });
    const write = (...policies: object[]) => JSON.stringify({ policies }, null, 1);
    const first = readPolicy(write(policy("a", 1), policy("b", 2)), "p");
    const second = readPolicy(write(policy("c", 3), policy("a", 1), policy("b", 9)), "p", first);
    const [a, b, c] = second.tiers[0]!.policies;
    const [a1, b1] = first.tiers[0]!.policies;
    expect(a!.ingress).toBe(a1!.ingress);
    expect(b!.ingress).not.toBe(b1!.ingress);
    const lineOf = (one: typeof a) => placeOfRule("ingress", one!, 0).line;
    expect(lineOf(c)).toBe(lineOf(a1));
    expect(lineOf(a)).toBe(lineOf(b1));
  });
});
