/** The verbs of the `weft` command, and the behaviour they share. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { WeftError } from "../error.js";
import { complain, exit } from "./exit.js";
import { Misuse } from "./misuse.js";
import { refuseRepeated } from "./repeated.js";

const HELP = `
Examples:
  weft up --secret-file secret                     the first node
  weft up --secret-file secret --join 192.0.2.1    another node
  weft status                                      is it healthy?
  weft policy apply policy.yaml                    apply a policy
  weft nat apply nat.yaml                          apply services and address translation
  weft explain --src 10.244.1.5 --dst 10.244.2.80 --dport 443
                                                   why is it dropped?
  weft capture --dropped                           which packets are dropped now?
  weft help up                                     every setting

Exit codes: 0 done, 1 failed or degraded, 2 wrong usage or configuration, 3 no agent answers.
`;

/** The verbs and their groups, in the order of the help. */
const VERBS: readonly [group: string, name: string, load: () => Promise<Command>][] = [
  ["Run:", "up", async () => (await import("./up.js")).up()],
  ["Look:", "status", async () => (await import("./status.js")).status()],
  ["Look:", "peers", async () => (await import("./peers.js")).peers()],
  ["Look:", "routes", async () => (await import("./routes.js")).routes()],
  ["Look:", "leases", async () => (await import("./leases.js")).leases()],
  ["Look:", "counters", async () => (await import("./counters.js")).counters()],
  ["Look:", "flows", async () => (await import("./flows.js")).flows()],
  ["Look:", "services", async () => (await import("./services.js")).services()],
  ["Look:", "explain", async () => (await import("./explain.js")).explain()],
  ["Look:", "capture", async () => (await import("./capture.js")).capture()],
  ["Change:", "policy", async () => (await import("./policy.js")).policy()],
  ["Change:", "nat", async () => (await import("./nat.js")).nat()],
  ["Change:", "forget", async () => (await import("./forget.js")).forget()],
];

const weft = new Command("weft")
  .description("weft joins Linux hosts into one flat IP network.")
  .usage("VERB [options]")
  .version(version(), "--version", "print the version")
  .helpOption("-h, --help", "print this help")
  .addHelpText("after", HELP);

// A verb starts twice as fast when no other is loaded. Help and mistakes need them all.
const named = VERBS.filter(([, name]) => name === process.argv[2]);
for (const [group, , load] of named.length > 0 ? named : VERBS) {
  weft.commandsGroup(group).addCommand(await load());
}

for (const command of everyCommand(weft)) {
  refuseRepeated(command);
  command
    .exitOverride((error) => {
      throw new Misuse(command, error);
    })
    .helpOption("-h, --help", "print this help")
    .configureOutput({ outputError: () => {} });
}

process.stdout.on("error", ({ code = "", message }: NodeJS.ErrnoException) => {
  // `weft routes | head` closes the pipe early, which is no error.
  if (code === "EPIPE") return;
  const remedy = "write it somewhere else";
  process.exit(complain(new WeftError("FILE", `stdout cannot be written: ${message}`, remedy)));
});
// A closed stderr changes no exit code.
process.stderr.on("error", () => {});

try {
  await weft.parseAsync();
} catch (error) {
  process.exit(error instanceof Misuse ? endOf(error) : complain(error));
}

function* everyCommand(command: Command): Generator<Command> {
  yield command;
  for (const verb of command.commands) yield* everyCommand(verb);
}

function endOf(misuse: Misuse): number {
  if (misuse.isAnswered) return exit.ok;
  return misuse.isIncomplete ? exit.usage : complain(misuse.explained());
}

function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
