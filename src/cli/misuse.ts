/** Errors in the command line, with the words of weft in place of commander's. */
import type { Command, CommanderError } from "commander";
import { nearest } from "../config/nearest.js";
import { WeftError } from "../error.js";
import { exit } from "./exit.js";

/** commander always throws at its end: after help, after the version, and at a mistake. */
export class Misuse extends Error {
  constructor(
    readonly command: Command,
    readonly error: CommanderError,
  ) {
    super(error.message);
  }

  /** Help or the version was printed. */
  get isAnswered(): boolean {
    return this.error.exitCode === exit.ok;
  }

  /** Whether help was printed because a subcommand is missing. */
  get isIncomplete(): boolean {
    return this.error.code === "commander.help";
  }

  explained(): WeftError {
    const [what = ""] = this.error.message.replace(/^error: /, "").split("\n");
    const meant = nearest(this.#known(), /'([^']*)'/.exec(what)?.[1] ?? "");
    const remedy = meant ? `did you mean ${meant}?` : `see: ${nameOf(this.command)} --help`;
    return new WeftError("USAGE", what, remedy);
  }

  /** The valid words that may have been meant. */
  #known(): string[] {
    const { command, error } = this;
    if (error.code === "commander.unknownCommand") return command.commands.map((it) => it.name());
    if (error.code !== "commander.unknownOption") return [];
    const options = command.createHelp().visibleOptions(command);
    return options.flatMap(({ long }) => long ?? []);
  }
}

/** `weft policy apply` */
function nameOf(command: Command): string {
  return command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();
}
