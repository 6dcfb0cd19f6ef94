import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const counters = () =>
  readingVerb("counters", {
    summary: "show what became of every packet, and why some were dropped",
    help: `OUT is from this host to its peers, IN from them to it. In each column
received = delivered + answered + the sum of the dropped. The relayed, which went
on to another node, are among the delivered. Control is what the mesh sends beside
the packets, and no packet.

Example:
  weft counters -o json | jq .in.dropped
`,
    print: ({ out, in: into }) => {
      const reasons = [...new Set([out, into].flatMap(({ dropped }) => Object.keys(dropped)))];
      return table(
        ["PACKETS", "OUT", "IN"],
        [
          ["received", out.received, into.received],
          ["delivered", out.delivered, into.delivered],
          ["  relayed", "", into.relayed],
          ["answered", out.answered, into.answered],
          ...reasons.map((reason) => [
            `dropped: ${reason}`,
            out.dropped[reason] ?? 0,
            into.dropped[reason] ?? 0,
          ]),
          ["control", "", into.control],
          ["control dropped", "", into.controlDropped],
        ],
      );
    },
  });
