/** `weft services`: the services of the cluster, with the state and use of their backends. */
import { Command } from "commander";
import { services as askAgent } from "../http/client.js";
import type { ServiceRow } from "../nat/service-rows.js";
import { asJson, outputOption, socketOption } from "./shared.js";
import { seconds, table } from "./table.js";

const HELP = `
STATE is active (it gets new flows), drained or down (its check fails: it keeps the flows that it
has) or dead (its node is). FLOWS and BYTES are those of the live connections that this node
translates. SINCE and WHY tell of a backend that is down. Each node checks the backends itself, so
two nodes may differ. Ports that this node publishes are listed too, by their address and port.

Examples:
  weft services
  weft services -o json | jq -r '.[].backends[] | select(.state != "active") | .to'
`;

export const services = (): Command =>
  new Command("services")
    .description("list the services and published ports, and the state and use of their backends")
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(async ({ output, socket }: { output: string; socket: string }) => {
      const all = await askAgent(socket);
      process.stdout.write(output === "json" ? asJson(all) : print(all));
    });

const HEADS = [
  "NAME",
  "PROTO",
  "ADDRESS",
  "PORT",
  "BACKEND",
  "NODE",
  "WEIGHT",
  "STATE",
  "FLOWS",
  "BYTES",
  "SINCE",
  "WHY",
];

const NO_BACKEND = [null, null, null, "no backend", null, null, null, null];

const print = (all: readonly ServiceRow[]): string =>
  table(
    HEADS,
    all.flatMap(({ name, kind, protocol, address, port, backends }) => {
      const place = [kind === "port" ? null : name, protocol, address, port];
      if (backends.length === 0) return [[...place, ...NO_BACKEND]];
      return backends.map(({ to, node, weight, state, flows, bytes, since, why }) => [
        ...place,
        to,
        node,
        weight,
        state,
        flows,
        bytes,
        seconds(since),
        why,
      ]);
    }),
  );
