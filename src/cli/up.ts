/** `weft up`: runs the agent in the foreground until a signal stops it. */
import { hostname } from "node:os";
import { Command, Option } from "commander";
import type { Agent } from "../agent/agent.js";
import { type Config, DEFAULT_CONFIG_FILE, loadConfig } from "../config/config.js";
import { flags, settings } from "../config/settings.js";
import { ownMistake, WeftError } from "../error.js";
import type { Logger } from "../logging/log.js";
import { exit } from "./exit.js";
import { onSignals } from "./signals.js";

const HELP = `
The first node defines the cluster network; every other node joins through any running node.
The configuration file may have any flag, under the same name.

Examples:
  openssl rand -base64 32 > secret && chmod 600 secret

  weft up --secret-file secret                        the first node
  weft up --secret-file secret --join 192.0.2.1       every other node

  weft up --secret-file secret --network 10.244.0.0/16,fd00:244::/48
                                                      IPv4 and IPv6 in the overlay

  weft up --secret-file secret --port 8472 --static-peer \\
    name=f,endpoint=192.0.2.9:8472,mac=02:00:00:00:00:09,subnets=10.244.9.0/24
                                                      beside a plain Linux vxlan device

SIGTERM, Ctrl-C or the end of its terminal stops the agent and removes the device and routes.
SIGHUP reads the secret file again, without loss of packets.

Exit code: 0 stopped by a signal; 1 the host refuses, or the agent cannot continue; 2 the
command line, the configuration or the secret file is wrong.
`;

export function up(): Command {
  const command = new Command("up").description("run the agent in the foreground");
  for (const [name, setting] of Object.entries(settings.shape)) {
    const { value, help, group, repeats = false } = flags.get(setting)!;
    const taking = value === undefined ? "" : ` <${value}${repeats ? "..." : ""}>`;
    const option = new Option(`--${name}${taking}`, help);
    option.variadic = repeats;
    command.addOption(option.helpGroup(`${group}:`));
  }
  return command
    .addOption(
      new Option(
        "--config <FILE>",
        `configuration file (default: ${DEFAULT_CONFIG_FILE})`,
      ).helpGroup("Files and control:"),
    )
    .addHelpText("after", HELP)
    .action(async () => {
      const { config: file, ...given } = byName(command);
      await run(given, file === undefined ? undefined : String(file));
    });
}

async function run(given: object, file: string | undefined): Promise<void> {
  const { abandonLookups, hardenProcess, refuseNodeSettings, Terminals } = await import(
    "./daemon.js"
  );
  refuseNodeSettings(process.env);
  hardenProcess();
  const terminals = new Terminals();
  const secret = process.env.WEFT_SECRET;
  const read = () => loadConfig(given, file, { hostname: hostname(), secret });
  const config = read();
  const { makeLog } = await import("../logging/log.js");
  const { log, state } = makeLog(config.logFormat);

  // Before the agent exists there is nothing to reload: its configuration has just been read.
  let agent: Agent | undefined;
  const ended = onSignals({
    isTerminalClosed: () => terminals.areClosed(),
    reload: () => agent && void reload(agent, read, log),
    meaningless: (signal) => log.info(`${signal} is ignored by weft`),
  });
  const { Agent } = await import("../agent/agent.js");
  agent = new Agent(config, log, state);
  try {
    await Promise.race([agent.start(), ended]);
    const end = await Promise.race([ended, agent.failed]);
    if (typeof end === "string") log.info(`${end}: stopping`);
    await agent.stop();
    if (typeof end !== "string") throw end;
  } finally {
    terminals.release();
    abandonLookups();
  }
  process.exit(exit.ok);
}

/** Reads the configuration again. A configuration with an error changes nothing. */
async function reload(agent: Agent, read: () => Config, log: Logger): Promise<void> {
  try {
    await agent.reload(read());
  } catch (error) {
    const { message, remedy } = error instanceof WeftError ? error : ownMistake(error as Error);
    log.error(`SIGHUP: ${message}: ${remedy}; nothing changes`);
  }
}

/**
 * The given flags by their names as written: `subnet-len`, not `subnetLen`. For commander,
 * `--no-tso` sets `tso` to false and `--release` is a boolean; here each is the text `true`, as in
 * the file.
 */
function byName(command: Command): Record<string, unknown> {
  const given = command.options
    .map((option) => [option, option.attributeName()] as const)
    .filter(([, name]) => command.getOptionValueSource(name) === "cli")
    .map(([option, name]) => [
      option.long!.slice(2),
      option.required ? command.getOptionValue(name) : "true",
    ]);
  return Object.fromEntries(given);
}
