import type { Counters } from "../http/view.js";
import { nameOf } from "../policy/place.js";
import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const counters = () =>
  readingVerb("counters", {
    summary: "show the fate of all packets, and why some were dropped",
    help: `PACKETS: OUT is from this host to its peers, IN from them to it. In each column
received = delivered + answered + all that was dropped. Relayed packets, which went on to
another node, are part of the delivered ones. Below "answered" stands for which reason an ICMP
error was sent back. Control datagrams are the mesh's own probes, and are no packets;
those of known and of unknown senders are dropped where they come faster than they are read.

MESH PORT REFUSED counts connections that were refused before they showed the cluster secret:
their address made too many, others crowded them out, or they took too long.

The rules are those of the policy that concern this node, with the packets that each allowed,
denied or logged. Later packets of an allowed connection count for its rule as well; packets
dropped for another reason count for that reason alone.

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

/** Empty if no connection was refused. */
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
