/** `weft explain`: what would become of a packet, and which rule decides. */
import { Command, Option } from "commander";
import { WeftError } from "../error.js";
import type { Explanation } from "../explain/explain.js";
import { explain as askAgent } from "../http/client.js";
import { nameOf, type Place } from "../policy/place.js";
import { exit } from "./exit.js";
import { asJson, outputOption, socketOption } from "./shared.js";
import { pairs, table } from "./table.js";

const HELP = `
The agent's own code tries the packet on a copy of its memory: nothing is sent, no
counter moves. Without --proto it is TCP if there is a port, else an echo request.

This node judges what leaves it (egress) and what arrives at it (ingress). With --in
it is asked about a packet that comes from a peer: the one that holds --src, or the
one named by --peer. So run it on both sides.

Exit code: 0 the packet goes on, 1 it does not, 2 there is no such packet.

Examples:
  weft explain --src 10.244.1.5 --dst 10.244.2.80 --dport 443
  weft explain --src 10.244.1.5 --dst 10.244.2.80 --dport 443 --in       on the other node
  weft explain --packet 4500001c00010000401165cf0af401050af40250c00000350008f1a2
`;

interface Given {
  readonly output: string;
  readonly socket: string;
  readonly src?: string;
  readonly dst?: string;
  readonly proto?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly packet?: string;
  readonly in?: boolean;
  readonly peer?: string;
}

export const explain = (): Command =>
  new Command("explain")
    .description("show what would become of a packet, stage by stage, and which rule decides")
    .addOption(new Option("--src <ADDR>", "source address"))
    .addOption(new Option("--dst <ADDR>", "destination address"))
    .addOption(new Option("--proto <PROTO>", "tcp, udp, icmp, icmpv6, sctp, or a number"))
    .addOption(new Option("--sport <N>", "source port (default: 49152)"))
    .addOption(new Option("--dport <N>", "destination port"))
    .addOption(new Option("--packet <HEX>", "a whole packet from its IP header on, instead"))
    .addOption(new Option("--in", "it comes from a peer"))
    .addOption(new Option("--peer <NAME>", "it comes from this peer"))
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(async ({ output, socket, ...given }: Given) => {
      const answer = await askAgent(socket, questionOf(given));
      process.stdout.write(output === "json" ? asJson(answer) : print(answer));
      process.exitCode = GOES_ON.includes(answer.verdict) ? exit.ok : exit.failed;
    });

const GOES_ON: readonly Explanation["verdict"][] = ["sent", "delivered"];

function questionOf({ src, dst, packet, ...given }: Omit<Given, "output" | "socket">): object {
  const way = {
    ...(given.in && { direction: "in" }),
    ...(given.peer !== undefined && { peer: given.peer }),
  };
  if (packet !== undefined) return { packet, ...way };
  if (src === undefined || dst === undefined) {
    throw new WeftError("USAGE", "a packet has two ends", "give --src and --dst, or --packet");
  }
  return {
    src,
    dst,
    ...(given.proto !== undefined && { protocol: numberOr(given.proto) }),
    ...(given.sport !== undefined && { sport: Number(given.sport) }),
    ...(given.dport !== undefined && { dport: Number(given.dport) }),
    ...way,
  };
}

const numberOr = (text: string): string | number => (/^\d+$/.test(text) ? Number(text) : text);

function print(answer: Explanation): string {
  const { stages, verdict, reason, sentence, rule, almost, counter } = answer;
  const rows = stages.flatMap(({ stage, saw, verdict, changes, rules = [] }) => [
    [stage, saw, verdict],
    ...rules.map((place) => ["", `  ${inWords(place)}`, ""]),
    ...changes.map(({ field, from, to }) => [
      "",
      `  ${field}: ${from === undefined ? "" : `${from} -> `}${to}`,
      "",
    ]),
  ]);
  const end = pairs([
    ["verdict", reason === undefined ? verdict : `${verdict}: ${reason}`],
    ...(sentence === undefined ? [] : [["because", sentence] as const]),
    ...(rule ? [["rule", inWords(rule)] as const] : []),
    ...(almost
      ? [["almost", `${inWords(almost.rule)}, but for its ${almost.field}`] as const]
      : []),
    ["counter", counter],
  ]);
  return `${table(["STAGE", "SAW", "VERDICT"], rows)}\n${end}`;
}

function inWords(place: Place): string {
  const line = place.line === undefined ? "" : `, line ${place.line}`;
  return `${nameOf(place)}: ${place.action}${place.isShadow ? " (shadow)" : ""} (tier ${place.tier}${line})`;
}
