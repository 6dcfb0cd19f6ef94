/** The verbs of the `weft` command, and the behaviour they share. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { WeftError } from "../error.js";
import { capture } from "./capture.js";
import { counters } from "./counters.js";
import { complain, exit } from "./exit.js";
import { explain } from "./explain.js";
import { flows } from "./flows.js";
import { forget } from "./forget.js";
import { leases } from "./leases.js";
import { Misuse } from "./misuse.js";
import { nat } from "./nat.js";
import { peers } from "./peers.js";
import { policy } from "./policy.js";
import { refuseRepeated } from "./repeated.js";
import { routes } from "./routes.js";
import { services } from "./services.js";
import { status } from "./status.js";
import { up } from "./up.js";

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

const weft = new Command("weft")
  .description("weft joins Linux hosts into one flat IP network.")
  .usage("VERB [options]")
  .version(version(), "--version", "print the version")
  .helpOption("-h, --help", "print this help")
  .addHelpText("after", HELP);

weft.commandsGroup("Run:").addCommand(up());
weft.commandsGroup("Look:");
for (const verb of [
  status(),
  peers(),
  routes(),
  leases(),
  counters(),
  flows(),
  services(),
  explain(),
  capture(),
]) {
  weft.addCommand(verb);
}

weft.commandsGroup("Change:");
for (const verb of [policy(), nat(), forget()]) weft.addCommand(verb);

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
