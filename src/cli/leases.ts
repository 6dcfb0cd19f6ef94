import { inOrderOf } from "./order.js";
import { readingVerb } from "./reading.js";
import { seconds, table } from "./table.js";

export const leases = () =>
  readingVerb("leases", {
    summary: "list the subnets and the nodes that own them",
    help: `A lease without an expiry time is held until its owner gives it up. A reserved one is used
by no member and granted to no other: its owner has left, or is not known. To free it:
weft forget OWNER

Example:
  weft leases
`,
    print: (rows) =>
      table(
        ["SUBNET", "OWNER", "STATE", "SINCE", "EXPIRES"],
        inOrderOf(rows, ({ subnet }) => subnet).map(
          ({ subnet, owner, state, since, isReserved, expires }) => [
            subnet,
            owner,
            isReserved ? `${state}, reserved` : state,
            seconds(since),
            seconds(expires),
          ],
        ),
      ),
  });
