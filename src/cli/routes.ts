import { inOrderOf } from "./order.js";
import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const routes = () =>
  readingVerb("routes", {
    summary: "list which prefix goes to which peer",
    help: `VIA is the next hop of packets for the prefix: the peer's endpoint, that of a node that relays
for it, or the device for this node's own leases.

Example:
  weft routes -o json | jq -r '.[] | "\\(.prefix) \\(.peer)"'
`,
    print: (rows) =>
      table(
        ["PREFIX", "PEER", "VIA"],
        inOrderOf(rows, ({ prefix }) => prefix).map(({ prefix, peer, via }) => [prefix, peer, via]),
      ),
  });
