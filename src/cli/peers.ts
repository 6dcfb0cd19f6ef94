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
        ["NAME", "ENDPOINT", "LEASES", "STATE", "PATH", "RTT ms", "LOSS %", "MTU", "MAC"],
        rows.map(({ name, endpoint, leases, state, path, rttMs, loss, mtu, mac }) => [
          name,
          endpoint,
          leases,
          state,
          path,
          rttMs,
          loss === null ? null : Math.round(loss * 100),
          mtu,
          mac,
        ]),
      ),
  });
