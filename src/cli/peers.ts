import type { PeerRow } from "../http/view.js";
import { byName } from "./order.js";
import { readingVerb } from "./reading.js";
import { seconds, table } from "./table.js";

export const peers = () =>
  readingVerb("peers", {
    summary: "list the other nodes, their states and the paths to them",
    help: `STATE is established, no-mesh (no member has a mesh session with it), connecting, unreachable,
dead or static; SINCE is the time since when it is not established. Nodes that have left (left,
dead, left-out) are listed too, as long as their leases are reserved for them.
RTT, LOSS and MTU are measured on the path that packets take, by probes. POLICY and NAT are the
versions that the node reports in force, and in brackets a newer one with the reason why it is not.

Examples:
  weft peers
  weft peers -o json | jq -r '.[] | select(.state != "established") | .name'
  weft peers -o json | jq -r '.[] | select(.path != "direct") | .name + " " + .path'
`,
    print: (rows) =>
      table(
        [
          "NAME",
          "ENDPOINT",
          "LEASES",
          "STATE",
          "SINCE",
          "PATH",
          "RTT ms",
          "LOSS %",
          "MTU",
          "POLICY",
          "NAT",
          "MAC",
        ],
        [...rows]
          .sort(byName)
          .map(
            ({ name, endpoint, leases, state, since, path, rttMs, loss, mtu, documents, mac }) => [
              name,
              endpoint,
              leases,
              state,
              seconds(since),
              path,
              rttMs,
              loss === null ? null : Math.round(loss * 100),
              mtu,
              versionOf("policy", documents),
              versionOf("nat", documents),
              mac,
            ],
          ),
      ),
  });

/** The version in force, and a newer version that the node knows but does not enforce. */
function versionOf(kind: string, documents: PeerRow["documents"] = []): string | null {
  const document = documents.find((one) => one.kind === kind);
  if (!document) return null;
  const { version, held } = document;
  return `${version || "none"}${held ? ` (${held.version}: ${held.why})` : ""}`;
}
