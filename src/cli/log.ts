/** The agent's log, on stderr: sentences for a person at a terminal, JSON lines for a collector. */
import { type Logger, pino } from "pino";

export type { Logger } from "pino";

export function makeLogger(stream: NodeJS.WriteStream = process.stderr): Logger {
  const options = { base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return stream.isTTY
    ? pino(options, { write: (line) => void stream.write(sentence(line)) })
    : pino({ ...options, formatters: { level: (level) => ({ level }) } }, stream);
}

/** `{"level":30,"time":"...T12:00:00.000Z","msg":"ready","mtu":1450}` -> `12:00:00 ready mtu=1450` */
function sentence(line: string): string {
  const { level, time, msg = "", ...rest } = JSON.parse(line) as Record<string, unknown>;
  const mark = Number(level) >= 50 ? "error: " : Number(level) >= 40 ? "warning: " : "";
  const details = Object.entries(rest).map(([key, value]) => ` ${key}=${text(value)}`);
  return `${String(time).slice(11, 19)} ${mark}${text(msg)}${details.join("")}\n`;
}

/** Log lines quote what peers sent: control characters stay visible and harmless. */
const text = (value: unknown): string =>
  (typeof value === "string" ? value : JSON.stringify(value)).replace(/[^\x20-\x7e]/g, "?");
