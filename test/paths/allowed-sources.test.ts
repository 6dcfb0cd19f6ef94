/** The endpoints that a member's packets may come from: its own before those of relays. */
import { expect, it } from "vitest";
import { AllowedSources, MAX_ALLOWED_SOURCES } from "../../src/paths/allowed-sources.js";

const endpoint = (n: number) => `192.0.2.${n}:4789`;

function full(prove: "answered" | "carried"): AllowedSources {
  const senders = new AllowedSources();
  for (let n = 1; n <= MAX_ALLOWED_SOURCES; n++) senders[prove](endpoint(n), 1_000 + n);
  return senders;
}

it("where the member answered takes the place of a relay at once, the one proved first", () => {
  const senders = full("carried");
  expect(senders.answered(endpoint(9), 1_010)).toBe(true);
  expect(senders.endpoints).toEqual([2, 3, 4, 9].map(endpoint));
});

it("a relay, or another endpoint of the member, waits until one was not proved for a while", () => {
  const relays = full("carried");
  expect([relays.carried(endpoint(9), 1_010), relays.carried(endpoint(9), 20_000)]).toEqual([
    false,
    true,
  ]);
  const own = full("answered");
  expect([own.answered(endpoint(9), 1_010), own.answered(endpoint(9), 20_000)]).toEqual([
    false,
    true,
  ]);
});
