/** Refuses options that are given twice, of which commander would silently take the last. */
import type { Command } from "commander";
import { WeftError } from "../error.js";

/** Makes a command refuse repeated options, except those that may repeat. */
export function refuseRepeated(command: Command): void {
  for (const option of command.options.filter(({ variadic }) => !variadic)) {
    let isGiven = false;
    command.on(`option:${option.name()}`, () => {
      if (isGiven) {
        throw new WeftError(
          "USAGE",
          `option '${option.flags}' is given more than once`,
          "keep one of them",
        );
      }
      isGiven = true;
    });
  }
}
