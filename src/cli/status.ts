import type { Offloads } from "../config/config.js";
import { seenOf } from "../explain/coverage.js";
import type { DocumentStatus } from "../http/view.js";
import type { LogState } from "../logging/log.js";
import { exit } from "./exit.js";
import { readingVerb } from "./reading.js";
import { pairs } from "./table.js";

/** `tso gso`, or `none`. */
const inUse = (offloads: Offloads): string =>
  Object.entries(offloads)
    .filter(([, used]) => used)
    .map(([name]) => name)
    .join(" ") || "none";

/** Empty while all lines of the log are written. */
function logRow({ lost, waiting, since, why }: LogState): [string, string][] {
  if (since !== undefined) {
    const rest = `${waiting} lines wait, ${lost} are lost`;
    return [["log", `cannot be written since ${since} (${why}): ${rest}`]];
  }
  return lost > 0 ? [["log", `${lost} lines were lost while it could not be written`]] : [];
}

/** `version 7 here; version 8 on 3 of 4 known nodes`. */
function documentIn({ version, newest, inForce, known }: DocumentStatus, none: string): string {
  const here = version === null ? "none is in force yet" : version || "none";
  if (version === 0 && newest === 0 && inForce === known) return "none";
  const named = newest === 0 ? none : `version ${newest}`;
  return `${typeof here === "number" ? `version ${here}` : here} here; ${named} on ${inForce} of ${known} known nodes`;
}

export const status = () =>
  readingVerb("status", {
    summary: "show whether this node is healthy, and what it is",
    help: `Exit code: 0 healthy, 1 degraded, 3 no agent answers.

Examples:
  weft status
  until weft status; do sleep 1; done     wait until the node is healthy
  weft status -o json | jq -r .address    its own overlay address
`,
    print: (node) =>
      pairs([
        ["node", node.name],
        ["health", node.healthy ? "healthy" : "degraded"],
        ...node.problems.map((problem) => ["problem", problem] as const),
        ...node.notes.map((note) => ["note", note] as const),
        ["sees", seenOf(node.coverage)],
        ["address", node.address && node.addresses],
        ["leases", node.leases],
        ["network", node.network],
        ["underlay", node.underlay],
        ["vni", node.vni],
        ["mtu", node.mtu],
        ["mac", node.mac],
        ["offloads", inUse(node.offloads)],
        ["peers", node.peers],
        ["policy", documentIn(node.policy, "no policy")],
        ["nat", documentIn(node.nat, "no document")],
        ...logRow(node.log),
      ]),
    exitCode: ({ healthy }) => (healthy ? exit.ok : exit.failed),
  });
