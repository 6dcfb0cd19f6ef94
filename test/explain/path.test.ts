/** The path of a packet as `explain` tells it, from what the mesh knows of the peer. */
import { expect, it } from "vitest";
import { type PathView, pathTo } from "../../src/explain/path.js";
import type { Member } from "../../src/mesh/member.js";

const AT = "2030-01-01T00:00:00.000Z";
const PEER = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.244.2.0/24"],
};
const member = (state: Member["state"], answered: number | undefined): Member => ({
  ...PEER,
  id: "01",
  meshEndpoint: "192.0.2.2:6783",
  leases: [],
  state,
  path: "via c",
  noPath: false,
  senders: [],
  documents: [],
  ...(answered !== undefined && { answered }),
});

it.each<[Member["state"], PathView["state"]]>([
  ["established", "answers"],
  ["no-mesh", "answers"],
  ["connecting", "silent"],
  ["unreachable", "silent"],
  ["dead", "silent"],
])("the path to a member that answered once and is %s now: %s", (state, expected) => {
  expect(pathTo(PEER, member(state, Date.parse(AT)))).toEqual({
    state: expected,
    answered: AT,
    path: "via c",
    endpoint: PEER.endpoint,
  });
});

it("the path to a static peer, and to a member that was not probed, is unknown", () => {
  const unknown = { state: "unknown", endpoint: PEER.endpoint };
  expect(pathTo(PEER, undefined)).toEqual({ ...unknown, path: "direct" });
  expect(pathTo(PEER, member("established", undefined))).toEqual({ ...unknown, path: "via c" });
});
