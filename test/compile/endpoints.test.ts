/** The hash table of underlay addresses, changed entry by entry, beside one made at once. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/address.js";
import { EndpointTable } from "../../src/compile/endpoints.js";
import { Core } from "../../src/core/instance.js";
import { seedOfRun } from "../packets.js";
import { endpointsSlowly } from "./slow.js";

const seed = seedOfRun("endpoints");
/** Sixteen places, so that entries meet, and go round the end. */
const BITS = 4;
const layout = { ...(await Core.create()).layout, ENDPOINT_BITS: BITS };

const entry = fc.record({
  address: fc
    .oneof(
      fc.nat(30).map((n) => `192.0.2.${n}`),
      fc.nat(5).map((n) => `2001:db8::${n}`),
    )
    .map(parseAddress),
  peer: fc.integer({ min: 2, max: 6 }),
});

describe("the table of endpoints", () => {
  it("is the same as one made at once, whatever came and went, in whatever order", () => {
    const changes = fc.array(fc.oneof(entry, fc.nat(1000)), { maxLength: 60 });
    fc.assert(
      fc.property(changes, (changes) => {
        const words = new Uint32Array(2 << BITS);
        const table = new EndpointTable(words.buffer, 0, layout);
        const entries: { address: ReturnType<typeof parseAddress>; peer: number }[] = [];
        for (const change of changes) {
          if (typeof change === "number") {
            const [gone] = entries.splice(change % (entries.length || 1), 1);
            if (gone) table.remove(gone.address, gone.peer);
          } else if (entries.length < 15) {
            entries.push(change);
            table.add(change.address, change.peer);
          }
          expect(words).toEqual(endpointsSlowly(BITS, entries));
        }
      }),
      { seed, numRuns: 1000 },
    );
  });

  it("says so when what is to go was never there", () => {
    const table = new EndpointTable(new Uint32Array(2 << BITS).buffer, 0, layout);
    table.add(parseAddress("192.0.2.1"), 2);
    expect(() => table.remove(parseAddress("192.0.2.1"), 3)).toThrow("peer 3");
  });
});
