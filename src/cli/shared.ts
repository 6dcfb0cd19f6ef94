/** Options shared by several verbs. */
import { Option } from "commander";
import { DEFAULT_SOCKET, socketPath } from "../config/read.js";
import { WeftError } from "../error.js";

export const outputOption = (): Option =>
  new Option("-o, --output <format>", "how to print it")
    .choices(["table", "json"])
    .default("table", "table");

export const socketOption = (): Option =>
  new Option("--socket <path>", "control socket of the agent")
    .default(DEFAULT_SOCKET, DEFAULT_SOCKET)
    .argParser((text) => ofFlag("--socket", () => socketPath(text)));

/** Names the flag in errors of a reader. */
export function ofFlag<T>(flag: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    throw new WeftError("USAGE", `${flag}: ${error.message}`, error.remedy);
  }
}

/** The response of the API, unchanged. */
export const asJson = (answer: unknown): string => `${JSON.stringify(answer, null, 2)}\n`;
