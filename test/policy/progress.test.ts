/** How far a policy has come, by what the nodes say of themselves. */
import { describe, expect, it } from "vitest";
import { isLiving, progressOf } from "../../src/document-sync/progress.js";
import type { DocumentInForce } from "../../src/documents/in-force.js";

const HASH = "0123456789abcdef";
const NEWEST = { version: 7, hash: HASH };
const MAX = 2 ** 31 - 1;

const found = (
  documents: readonly DocumentInForce[],
  state = "established",
  newest: typeof NEWEST | null = NEWEST,
) => {
  const [node] = progressOf("policy", newest ?? undefined, [
    { name: "h2", id: "02", state, documents },
  ]).nodes;
  return node!;
};
const policy = (change: Partial<DocumentInForce>): DocumentInForce[] => [
  { kind: "policy", version: 7, ...change },
];

describe("a policy", () => {
  it("is in force on a node that says its version and its hash, and on no other", () => {
    expect(found(policy({ hash: HASH }))).toMatchObject({ isInForce: true, version: 7, why: null });
    const others: [readonly DocumentInForce[], RegExp][] = [
      [[], /^it has not said/],
      [[{ kind: "settings", version: 7, hash: HASH }], /^it has not said/],
      [policy({ version: 6, hash: HASH }), /^it said last: version 6$/],
      [policy({ version: 0 }), /^it said last: none$/],
      [policy({}), /^it has another one/],
      [policy({ hash: "f".repeat(16) }), /^it has another one, it said last: version 7$/],
      [policy({ version: MAX, hash: HASH }), /^it has another one/],
      [policy({ version: 6, held: { version: 7, why: "refused" } }), /^version 7 cannot be read/],
      [
        policy({ version: 6, held: { version: 7, why: "odd" } }),
        /^version 7 is held back there \(odd\)/,
      ],
      [
        policy({ version: 6, held: { version: 7, why: "constructor" } }),
        /^version 7 is held back there \(constructor\)$/,
      ],
      [policy({ version: 5, held: { version: 6, why: "refused" } }), /^it said last: version 5$/],
    ];
    for (const [documents, why] of others) {
      expect(found(documents)).toMatchObject({ isInForce: false, why: expect.stringMatching(why) });
    }
  });

  it("is missing on a node out of reach, with that as the reason", () => {
    const old = policy({ version: 6 });
    expect(found(old, "unreachable").why).toBe("it is unreachable; it said last: version 6");
    expect(found(old, "no-mesh").why).toMatch(/^it has no mesh session with any member; it said/);
    expect(found(policy({ hash: HASH }), "unreachable").isInForce).toBe(true);
  });

  it("is waited for on those that can be reached, and not on the dead", () => {
    const states = ["established", "no-mesh", "connecting", "self", "unreachable", "dead"];
    expect(states.filter((state) => isLiving(found([], state)))).toEqual(states.slice(0, 4));
  });

  it("counts as absent on a node that says so", () => {
    expect(found(policy({ version: 0 }), "established", null).isInForce).toBe(true);
    expect(found(policy({ hash: HASH }), "established", null).isInForce).toBe(false);
    expect(found([], "established", null).isInForce).toBe(false);
  });
});
