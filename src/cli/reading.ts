/** The verbs that print a reading of the running agent. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Reading } from "../http/api.js";
import { ask } from "../http/client.js";
import type { Readings } from "../http/view.js";
import { asJson, outputOption, socketOption } from "./shared.js";

interface ReadingOptions<R extends Reading> {
  /** One line for the list of verbs. */
  readonly summary: string;
  /** Text after the options in the help. */
  readonly help: string;
  readonly print: (answer: ReturnType<Readings[R]>) => string;
  /** Default: 0. */
  readonly exitCode?: (answer: ReturnType<Readings[R]>) => number;
  /** Whether the verb has `--watch`. */
  readonly canBeWatched?: boolean;
}

const WATCH_MS = 1_000;
/** Moves the cursor home and clears the screen below; on a terminal only. */
const FROM_THE_TOP = "\x1b[H\x1b[J";

export function readingVerb<R extends Reading>(
  reading: R,
  { summary, help, print, exitCode, canBeWatched = false }: ReadingOptions<R>,
): Command {
  const command = new Command(reading)
    .description(summary)
    .addOption(outputOption())
    .addOption(socketOption());
  if (canBeWatched) {
    command.addOption(
      new Option("--watch", "print it again every second, until Ctrl-C or until stdout is closed"),
    );
  }
  return command
    .addHelpText("after", `\n${help}`)
    .action(async ({ output, socket, watch }: Given) => {
      const closed = new AbortController();
      process.stdout.once("error", () => closed.abort());
      do {
        const answer = await ask(socket, reading);
        const text = output === "json" ? asJson(answer) : print(answer);
        process.stdout.write(watch && process.stdout.isTTY ? FROM_THE_TOP + text : text);
        process.exitCode = exitCode?.(answer) ?? 0;
        if (watch) await sleep(WATCH_MS, undefined, closed).catch(() => {});
      } while (watch && !closed.signal.aborted);
    });
}

interface Given {
  readonly output: string;
  readonly socket: string;
  readonly watch?: boolean;
}
