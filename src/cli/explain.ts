/** `weft explain`: the fate of a packet, and the rule that decides. */
import { Command, Option } from "commander";
import { parseAddress, printable } from "../address.js";
import { WeftError } from "../error.js";
import type { Unasked } from "../explain-sync/messages.js";
import { explain as askAgent } from "../http/client.js";
import type { Explained, ExplainedThere } from "../http/view.js";
import { inWords } from "../policy/place.js";
import { PROTOCOLS } from "../protocol.js";
import { exit } from "./exit.js";
import { explainFile, packetAt } from "./explain-file.js";
import { goesOn, hostInWords, isProbablyLost, pathInWords, verdictOf } from "./explain-verdict.js";
import { asJson, ofFlag, outputOption, socketOption } from "./shared.js";
import { pairs, table } from "./table.js";

const HELP = `
The agent runs its own code on a copy of its memory: it sends no packet and changes no
counter. Without --proto the packet is TCP if it has a port, otherwise an echo request.

The packet starts at the node that holds --src, whichever node runs the command. The first
node applies the egress rules, the node where it arrives the ingress rules. So each node on
the way is asked, and the verdict is that of the last one, unless the packet is probably
lost before: "path" has the time of the last answered probe. With --here the packet starts
at this node, and no other node is asked. With --in it arrives at this node from a peer:
the one that holds --src, or the one named by --peer.

A packet that never comes to weft, as between two containers of one host without --through-core,
has no verdict of the policy: "because" has the reason, and "remedy" the way to lead it to weft.

"host" is the kernel's route: whether a packet reaches weft at all, and where it goes after
weft has delivered it. weft does not see the host's firewall (nft, iptables), its NAT,
listening programs, hosts behind a device, the network between the nodes except by probes,
or the fate of a packet behind a static peer.

With --pcap each packet of a capture file is explained on its own, at this node only, as if
it arrived now: packets before it in the file have no effect. A packet whose source a peer
holds comes in, any other goes out. FRAME counts as Wireshark does; --number explains one
packet in full.

Exit code: 0 the packet goes on; 1 it does not, or is probably lost, or weft does not carry
it, or this is so for a packet of the file, or its first node could not be asked; 2 such a
packet cannot exist.

Examples:
  weft explain --src 10.244.1.5 --dst 10.244.2.80 --dport 443
  weft explain --src 10.244.1.5 --dst 10.244.2.80 --dport 443 --in       on the other node
  weft explain --packet 4500001c00010000401165cf0af401050af40250c00000350008f1a2
  weft explain --pcap weft0.pcapng --count 100
  weft explain --pcap weft0.pcapng --number 17
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
  readonly here?: boolean;
  readonly pcap?: string;
  readonly count?: string;
  readonly number?: string;
}

export const explain = (): Command =>
  new Command("explain")
    .description("explain the fate of a packet, and which rule decides")
    .addOption(new Option("--src <ADDR>", "source address"))
    .addOption(new Option("--dst <ADDR>", "destination address"))
    .addOption(new Option("--proto <PROTO>", "tcp, udp, icmp, icmpv6, sctp, or a number"))
    .addOption(new Option("--sport <N>", "source port (default: 49152)"))
    .addOption(new Option("--dport <N>", "destination port"))
    .addOption(new Option("--packet <HEX>", "a whole packet from its IP header on, instead"))
    .addOption(
      new Option("--pcap <FILE>", "the packets of a pcap or pcapng file, instead").conflicts([
        ...TUPLE,
      ]),
    )
    .addOption(new Option("--count <N>", "with --pcap: the first N frames (default: 1000)"))
    .addOption(new Option("--number <N>", "with --pcap: the N-th frame alone"))
    .addOption(new Option("--in", "it comes from a peer"))
    .addOption(new Option("--peer <NAME>", "it comes from this peer"))
    .addOption(new Option("--here", "only on this node: ask no other"))
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(async (given: Given) => {
      if (given.pcap === undefined && (given.count ?? given.number) !== undefined) {
        throw new WeftError("USAGE", "--count and --number need a file", "name it with --pcap");
      }
      const tried = given.pcap === undefined ? one(given, given) : ofFile(given, given.pcap);
      process.exitCode = (await tried) ? exit.ok : exit.failed;
    });

/** Options that also choose a packet. */
const TUPLE = ["src", "dst", "proto", "sport", "dport", "packet"] as const;

/** @returns whether it goes on */
async function one({ socket, output, here = false }: Given, packet: Packet): Promise<boolean> {
  const answer = await askAgent(socket, questionOf(packet), { here });
  process.stdout.write(output === "json" ? asJson(answer) : print(answer, packet));
  return goesOn(answer);
}

async function ofFile(given: Given, path: string): Promise<boolean> {
  const { socket, output, number } = given;
  const way = wayOf(given);
  if (number === undefined) {
    const count = wholeNumber("--count", given.count ?? DEFAULT_COUNT);
    return explainFile({ path, count, socket, way, isJson: output === "json" });
  }
  const packet = await packetAt(path, wholeNumber("--number", number), socket);
  return one(given, { ...given, packet });
}

const DEFAULT_COUNT = "1000";

function wholeNumber(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new WeftError(
    "USAGE",
    `${flag} ${text} is not a whole number from 1 on`,
    "give one, like 100",
  );
}

type Packet = Pick<Given, (typeof TUPLE)[number] | "in" | "peer">;

function questionOf(given: Packet): object {
  const { src, dst, packet } = given;
  if (packet !== undefined) {
    if (HEX.test(packet)) return { packet, ...wayOf(given) };
    throw new WeftError(
      "USAGE",
      `--packet ${printable(packet.slice(0, 40))} is not hexadecimal`,
      "give two hexadecimal digits for each byte, from the IP header on",
    );
  }
  if (src === undefined || dst === undefined) {
    throw new WeftError(
      "USAGE",
      "a packet has two ends",
      "give --src and --dst, or --packet, or --pcap",
    );
  }
  return {
    src: addressOf("--src", src),
    dst: addressOf("--dst", dst),
    ...(given.proto !== undefined && { protocol: protocolOf(given.proto) }),
    ...(given.sport !== undefined && { sport: portOf("--sport", given.sport) }),
    ...(given.dport !== undefined && { dport: portOf("--dport", given.dport) }),
    ...wayOf(given),
  };
}

const HEX = /^([0-9a-f]{2})+$/i;

const wayOf = ({ in: isIn, peer }: Packet): object => ({
  ...(isIn && { direction: "in" }),
  ...(peer !== undefined && { peer }),
});

const MAX_PROTOCOL = 255;
const MAX_PORT = 65_535;

function protocolOf(text: string): string | number {
  if (Object.hasOwn(PROTOCOLS, text)) return text;
  if (/^\d{1,3}$/.test(text) && Number(text) <= MAX_PROTOCOL) return Number(text);
  throw new WeftError(
    "USAGE",
    `--proto ${printable(text)} is no protocol`,
    `give ${Object.keys(PROTOCOLS).join(", ")}, or a number up to ${MAX_PROTOCOL}; a port goes to --dport`,
  );
}

function portOf(flag: string, text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= MAX_PORT) return Number(text);
  throw new WeftError(
    "USAGE",
    `${flag} ${printable(text)} is no port`,
    `give a whole number up to ${MAX_PORT}`,
  );
}

/** Checked here, because the agent's error does not name the flag. */
function addressOf(flag: string, text: string): string {
  ofFlag(flag, () => parseAddress(text));
  return text;
}

function print(answer: Explained, given: Packet): string {
  const { further, unasked } = answer;
  const hops = [answer, ...further];
  return [
    `${beginning(answer)}${part(answer)}`,
    ...further.map((report, i) => {
      const isDoubtful = hops.slice(0, i + 1).some(isProbablyLost);
      return `on ${report.node}${isDoubtful ? ", if it arrives" : ""}:\n${part(report)}`;
    }),
    ...(unasked ? [silence(unasked, given)] : []),
  ].join("\n");
}

/** A line about the first node, unless that is this node and holds the source. */
function beginning({ node, owner, packet }: Explained): string {
  if (node !== undefined) return `on ${node}, which has ${packet?.src}:\n`;
  if (owner !== null) return "";
  return `no node has ${packet?.src}: this is tried as a packet of this host\n\n`;
}

function part(node: Explained | ExplainedThere): string {
  const { stages, sentence, rule, almost, counter, path, peer, host, unseen } = node;
  const rows = stages.flatMap(({ stage, saw, verdict, changes, rules = [] }) => [
    [stage, saw, verdict],
    ...rules.map((place) => ["", `  ${inWords(place)}`, ""]),
    ...changes.map(({ field, from, to }) => [
      "",
      `  ${field}: ${from === undefined ? "" : `${from} -> `}${to}`,
      "",
    ]),
  ]);
  const inHost = host && hostInWords(host);
  const end = pairs([
    ["verdict", verdictOf(node)],
    ...(path && peer !== undefined ? [["path", pathInWords(path, peer)] as const] : []),
    ...(sentence === undefined ? [] : [["because", sentence] as const]),
    ...(unseen ? [["because", `${unseen.why}; no policy applies`] as const] : []),
    ...(unseen?.remedy === undefined ? [] : [["remedy", unseen.remedy] as const]),
    ...(rule ? [["rule", inWords(rule)] as const] : []),
    ...(almost
      ? [["almost", `${inWords(almost.rule)}, but for its ${almost.field}`] as const]
      : []),
    ...(inHost === undefined ? [] : [["host", inHost] as const]),
    ...(counter === undefined ? [] : [["counter", counter] as const]),
  ]);
  return rows.length === 0 ? end : `${table(["STAGE", "SAW", "VERDICT"], rows)}\n${end}`;
}

/** The node that was not asked, and the command to run there. */
function silence({ node, from, why }: Unasked, given: Packet): string {
  const flags = TUPLE.map((name) => (given[name] === undefined ? "" : ` --${name} ${given[name]}`));
  return `${node} was not asked: ${why}\n  there: weft explain${flags.join("")} --in --peer ${from}\n`;
}
