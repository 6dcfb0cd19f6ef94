/** The verbs that ask the running agent for something and print it. */
import { Command, Option } from "commander";
import { DEFAULT_SOCKET } from "../config.js";
import type { Reading } from "../http/api.js";
import { ask } from "../http/client.js";
import type { View } from "../http/view.js";

interface Options<R extends Reading> {
  /** One line for the list of verbs. */
  readonly summary: string;
  /** What the help says after the options. */
  readonly help: string;
  readonly print: (answer: ReturnType<View[R]>) => string;
  /** 0 unless the answer says otherwise. */
  readonly exitCode?: (answer: ReturnType<View[R]>) => number;
}

export function readingVerb<R extends Reading>(
  reading: R,
  { summary, help, print, exitCode }: Options<R>,
): Command {
  return new Command(reading)
    .description(summary)
    .addOption(
      new Option("-o, --output <format>", "how to print it")
        .choices(["table", "json"])
        .default("table", "table"),
    )
    .addOption(
      new Option("--socket <path>", "control socket of the agent").default(
        DEFAULT_SOCKET,
        DEFAULT_SOCKET,
      ),
    )
    .addHelpText("after", `\n${help}`)
    .action(async ({ output, socket }: { output: string; socket: string }) => {
      const answer = await ask(socket, reading);
      const text = output === "json" ? `${JSON.stringify(answer, null, 2)}\n` : print(answer);
      process.stdout.write(text);
      process.exitCode = exitCode?.(answer) ?? 0;
    });
}
