/** Options that several verbs have. */
import { Option } from "commander";
import { DEFAULT_SOCKET } from "../config.js";

export const outputOption = (): Option =>
  new Option("-o, --output <format>", "how to print it")
    .choices(["table", "json"])
    .default("table", "table");

export const socketOption = (): Option =>
  new Option("--socket <path>", "control socket of the agent").default(
    DEFAULT_SOCKET,
    DEFAULT_SOCKET,
  );

/** What the API answered, unchanged. */
export const asJson = (answer: unknown): string => `${JSON.stringify(answer, null, 2)}\n`;
