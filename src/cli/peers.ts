import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const peers = () =>
  readingVerb("peers", {
    summary: "list the nodes this one can send to",
    help: `Examples:
  weft peers
  weft peers -o json | jq -r '.[] | select(.state != "established") | .name'
`,
    print: (rows) =>
      table(
        ["NAME", "ENDPOINT", "LEASES", "STATE", "PATH", "RTT ms", "MTU", "MAC"],
        rows.map(({ name, endpoint, leases, state, path, rttMs, mtu, mac }) => [
          name,
          endpoint,
          leases,
          state,
          path,
          rttMs,
          mtu,
          mac,
        ]),
      ),
  });
