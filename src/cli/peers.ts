import type { PeerRow } from "../http/view.js";
import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const peers = () =>
  readingVerb("peers", {
    summary: "list the nodes this one can send to",
    help: `Examples:
  weft peers
  weft peers -o json | jq -r '.[] | select(.state != "established") | .name'
  weft peers -o json | jq -r '.[] | select(.path != "direct") | .name + " " + .path'
`,
    print: (rows) =>
      table(
        ["NAME", "ENDPOINT", "LEASES", "STATE", "PATH", "RTT ms", "LOSS %", "MTU", "POLICY", "MAC"],
        rows.map(({ name, endpoint, leases, state, path, rttMs, loss, mtu, documents, mac }) => [
          name,
          endpoint,
          leases,
          state,
          path,
          rttMs,
          loss === null ? null : Math.round(loss * 100),
          mtu,
          policyOf(documents),
          mac,
        ]),
      ),
  });

/** Version in force, and one that the node knows and does not enforce. */
function policyOf(documents: PeerRow["documents"] = []): string | null {
  const said = documents.find(({ kind }) => kind === "policy");
  if (!said) return null;
  const { version, held } = said;
  return `${version || "none"}${held ? ` (${held.version}: ${held.why})` : ""}`;
}
