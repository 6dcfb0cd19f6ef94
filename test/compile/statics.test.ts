import { expect, it } from "vitest";
import { Statics } from "../../src/compile/statics.js";
import type { Peer } from "../../src/peer.js";

const fixed: Peer = {
  name: "switch",
  endpoint: "192.0.2.9:4789",
  mac: "02:00:00:00:00:09",
  leases: ["10.244.9.0/24", "fd00:0:0:9::/64"],
};
const member = (change: Partial<Peer>): Peer => ({
  name: "h1",
  endpoint: "192.0.2.1:4789",
  mac: "02:00:00:00:00:01",
  leases: ["10.244.1.0/24"],
  ...change,
});

it.each<[string, Partial<Peer>, string?]>([
  ["is in nobody's way", {}],
  ["has its name", { name: "switch" }, "rename that one"],
  ["has its MAC address", { mac: fixed.mac }, "rename that one"],
  ["holds a part of its subnet", { leases: ["10.244.9.128/25"] }, "h1 holds 10.244.9.128/25"],
  ["holds what its subnet lies in", { leases: ["10.244.1.0/24", "fd00::/48"] }, "holds fd00::/48"],
])("beside a static peer, a member that %s", (_, change, words) => {
  const statics = new Statics([fixed]);
  const other = member({ name: "h2", mac: "02:00:00:00:00:02", leases: ["10.244.2.0/24"] });
  const peer = member(change);
  // Said for as long as it lasts.
  for (let time = 0; time < 2; time++) {
    const trouble: string[] = [];
    const peers = statics.join([peer, other], trouble);
    expect(peers).toEqual(words ? [fixed, other] : [fixed, peer, other]);
    expect(trouble).toEqual(words ? [expect.stringContaining(words)] : []);
  }
});
