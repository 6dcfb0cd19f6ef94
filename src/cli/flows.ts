/** `weft flows`: the live connections. */
import { Command, Option } from "commander";
import { formatEndpoint, parseAddress } from "../address.js";
import type { FlowEnds } from "../core/flows.js";
import { flows as askAgent } from "../http/client.js";
import { asJson, outputOption, socketOption } from "./shared.js";
import { table } from "./table.js";

const HELP = `
BY is the rule that allowed a connection, or - if none applies. ONWARD shows the ends with which
its packets go on, where they are translated. Packets and bytes are those
of the side that opened it, and those of the replies.

Examples:
  weft flows
  weft flows --src 10.244.1.0/24 --dst 10.244.2.80
  weft flows -o json | jq '[.[] | select(.state == "syn-sent")] | length'
`;

interface Given {
  readonly output: string;
  readonly socket: string;
  readonly src?: string;
  readonly dst?: string;
}

export const flows = (): Command =>
  new Command("flows")
    .description("list the live connections, and the rule that allowed each")
    .addOption(new Option("--src <CIDR>", "only those opened from this address or prefix"))
    .addOption(new Option("--dst <CIDR>", "only those opened to this address or prefix"))
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(async ({ output, socket, src, dst }: Given) => {
      const all = await askAgent(socket, { ...(src && { src }), ...(dst && { dst }) });
      process.stdout.write(output === "json" ? asJson(all) : print(all));
    });

const print = (all: Awaited<ReturnType<typeof askAgent>>): string =>
  table(
    [
      "PROTO",
      "SRC",
      "SPORT",
      "DST",
      "DPORT",
      "WAY",
      "STATE",
      "IDLE s",
      "PACKETS",
      "BYTES",
      "ONWARD",
      "BY",
    ],
    all.map((flow) => [
      flow.protocol,
      flow.src,
      flow.sport,
      flow.dst,
      flow.dport,
      flow.direction,
      flow.state,
      Math.round(flow.idleMs / 1000),
      `${flow.packets}/${flow.replyPackets}`,
      `${flow.bytes}/${flow.replyBytes}`,
      flow.onward ? endsInWords(flow.onward) : null,
      flow.rule,
    ]),
  );

const endsInWords = ({ src, sport, dst, dport }: FlowEnds): string =>
  [
    { address: parseAddress(src), port: sport },
    { address: parseAddress(dst), port: dport },
  ]
    .map(formatEndpoint)
    .join(" > ");
