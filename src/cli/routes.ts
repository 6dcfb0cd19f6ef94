import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const routes = () =>
  readingVerb("routes", {
    summary: "list which prefix goes to which peer",
    help: `Example:
  weft routes -o json | jq -r '.[] | "\\(.prefix) \\(.peer)"'
`,
    print: (rows) =>
      table(
        ["PREFIX", "PEER", "VIA"],
        rows.map(({ prefix, peer, via }) => [prefix, peer, via]),
      ),
  });
