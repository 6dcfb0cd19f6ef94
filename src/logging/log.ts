/** The agent's log, on stderr: sentences for a person, or JSON lines for a collector. */
import { isatty } from "node:tty";
import { type Logger, pino } from "pino";
import type { LogFormat } from "../config/read.js";
import { type Gap, LogSink, type LogState } from "./log-sink.js";

export type { Logger } from "pino";
export type { LogState } from "./log-sink.js";

export interface AgentLog {
  readonly log: Logger;
  state(): LogState;
}

const STDERR = 2;

/** @param format default: text on a terminal, JSON elsewhere */
export function makeLog(format?: LogFormat, fd = STDERR): AgentLog {
  const isText = (format ?? (isatty(fd) ? "text" : "json")) === "text";
  const sink = new LogSink(fd, (gap) => log.warn(lossOf(gap)));
  const options = { base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const log = isText
    ? pino(options, { write: (line) => sink.write(sentence(line)) })
    : pino({ ...options, formatters: { level: (level) => ({ level }) } }, sink);
  return { log, state: () => sink.state() };
}

const lossOf = ({ lost, since, why }: Gap): string =>
  `${lost} lines of the log are lost: since ${since} it could not be written (${why})`;

/** `{"level":30,"time":"...T12:00:00.000Z","msg":"ready","mtu":1450}` -> `12:00:00 ready mtu=1450` */
function sentence(line: string): string {
  const { level, time, msg = "", ...rest } = JSON.parse(line) as Record<string, unknown>;
  const mark = Number(level) >= 50 ? "error: " : Number(level) >= 40 ? "warning: " : "";
  const details = Object.entries(rest).map(([key, value]) => ` ${key}=${text(value)}`);
  return `${String(time).slice(11, 19)} ${mark}${text(msg)}${details.join("")}\n`;
}

/** Log lines quote texts from peers: control characters are escaped. */
const text = (value: unknown): string =>
  (typeof value === "string" ? value : JSON.stringify(value)).replace(/[^\x20-\x7e]/g, "?");
