import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const leases = () =>
  readingVerb("leases", {
    summary: "list the subnets and the nodes that own them",
    help: `A lease without an expiry time is held until its owner gives it up.

Example:
  weft leases
`,
    print: (rows) =>
      table(
        ["SUBNET", "OWNER", "EXPIRES"],
        rows.map(({ subnet, owner, expires }) => [subnet, owner, expires]),
      ),
  });
