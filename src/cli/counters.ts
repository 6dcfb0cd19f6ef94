import type { Counters } from "../http/view.js";
import { nameOf } from "../policy/place.js";
import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const counters = () =>
  readingVerb("counters", {
    summary: "show what became of every packet, and why some were dropped",
    help: `OUT is from this host to its peers, IN from them to it. In each column
received = delivered + answered + the sum of the dropped. The relayed, which went
on to another node, are among the delivered; the reasons under the answered add up
to them. Control is what the mesh sends beside
the packets, and no packet.

What connected to the mesh port and was refused before it showed the cluster secret: over the
rate of its address, crowded out by others, or too late.

Of the rules of the policy, those this node has to do with: packets that each let pass
or refused, or saw before they were. What follows in an allowed connection is counted
by its rule too; what ends for another reason is counted by that alone.

Examples:
  weft counters --watch                    look on
  weft counters -o json | jq .in.dropped
  weft counters -o json | jq '.in.answeredBy["denied-ingress"]'
  weft counters -o json | jq '.rules[] | select(.packets == 0)'     rules nobody met
`,
    canBeWatched: true,
    print: (answer) => packets(answer) + refused(answer) + rules(answer),
  });

function packets({ out, in: into }: Counters): string {
  const byReason = (of: "answeredBy" | "dropped", label: (reason: string) => string) =>
    [...new Set([out, into].flatMap((direction) => Object.keys(direction[of])))].map((reason) => [
      label(reason),
      out[of][reason] ?? 0,
      into[of][reason] ?? 0,
    ]);
  return table(
    ["PACKETS", "OUT", "IN"],
    [
      ["received", out.received, into.received],
      ["delivered", out.delivered, into.delivered],
      ["  relayed", "", into.relayed],
      ["answered", out.answered, into.answered],
      ...byReason("answeredBy", (reason) => `  ${reason}`),
      ...byReason("dropped", (reason) => `dropped: ${reason}`),
      ["control", "", into.control],
      ["control dropped: known", "", into.controlDropped],
      ["control dropped: unknown", "", into.controlDroppedUnknown],
    ],
  );
}

/** Empty where no connection was refused. */
function refused({ meshRefused }: Counters): string {
  const rows = Object.entries(meshRefused).filter(([, count]) => count > 0);
  return rows.length === 0 ? "" : `\n${table(["MESH PORT REFUSED", "CONNECTIONS"], rows)}`;
}

function rules({ rules }: Counters): string {
  if (rules.length === 0) return "";
  const rows = rules.map((rule) => [
    nameOf(rule),
    rule.isShadow ? `${rule.action} (shadow)` : rule.action,
    rule.line ?? null,
    rule.packets,
    rule.bytes,
  ]);
  return `\n${table(["RULE", "ACTION", "LINE", "PACKETS", "BYTES"], rows)}`;
}
