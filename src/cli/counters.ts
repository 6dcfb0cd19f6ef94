import type { Counters } from "../http/view.js";
import { nameOf } from "../policy/place.js";
import { readingVerb } from "./reading.js";
import { table } from "./table.js";

export const counters = () =>
  readingVerb("counters", {
    summary: "show the fate of all packets, and why some were dropped",
    help: `PACKETS: OUT is from this host to its peers, IN from them to it. In each column
received = delivered + answered + the sum of all drops. Relayed packets, which went on to
another node, are part of the delivered ones. The reasons below "answered" are those of ICMP
errors that were sent back. Control datagrams are the mesh's own probes, and do not count as
packets; those that arrive faster than they are read are dropped, by known and unknown sender.

MESH PORT REFUSED counts connections that were closed before they proved the cluster secret:
their address opened too many, newer connections evicted them, or they took too long.

The rules are those of the policy that concern this node, with the packets that each allowed,
denied or logged. Later packets of an allowed connection count for its rule too; packets
dropped for another reason count for that reason only.

Examples:
  weft counters --watch                    every second
  weft counters -o json | jq .in.dropped
  weft counters -o json | jq '.in.answeredBy["denied-ingress"]'
  weft counters -o json | jq '.rules[] | select(.packets == 0)'     rules without packets
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
