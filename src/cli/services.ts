/** `weft services`: the services of the cluster, with the state and use of their backends. */
import { Command } from "commander";
import { services as askAgent } from "../http/client.js";
import type { ServiceRow } from "../nat/service-rows.js";
import { asJson, outputOption, socketOption } from "./shared.js";
import { table } from "./table.js";

const HELP = `
STATE is active (it gets new flows), drained or failing (its check fails: it keeps the flows that
it has) or dead (its node is). FLOWS and BYTES are those of the live connections that this node
translates. Ports that this node publishes are listed too, by their address and port.

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

const print = (all: readonly ServiceRow[]): string =>
  table(
    ["NAME", "PROTO", "ADDRESS", "PORT", "BACKEND", "NODE", "WEIGHT", "STATE", "FLOWS", "BYTES"],
    all.flatMap(({ name, kind, protocol, address, port, backends }) => {
      const place = [kind === "port" ? null : name, protocol, address, port];
      if (backends.length === 0) return [[...place, null, null, null, "no backend", null, null]];
      return backends.map(({ to, node, weight, state, flows, bytes }) => [
        ...place,
        to,
        node,
        weight,
        state,
        flows,
        bytes,
      ]);
    }),
  );
