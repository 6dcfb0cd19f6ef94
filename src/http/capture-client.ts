/** Reads the packets that the agent on this host captures. */
import type { IncomingMessage } from "node:http";
import { WeftError } from "../error.js";
import { exchange, noAgent, notAnAgent, refusal } from "./client.js";
import type { CaptureLine } from "./view.js";

/** Most bytes of a line: a packet of 64 KiB in hex, and its fate. */
const MAX_LINE = 256 * 1024;

/**
 * Yields the lines of a capture, until `signal` ends it.
 * @throws WeftError NO_AGENT, or the error that the agent returns
 */
export async function captured(
  socketPath: string,
  options: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<AsyncGenerator<CaptureLine>> {
  const path = `/v1/capture?${new URLSearchParams(options)}`;
  const response = await exchange<IncomingMessage>(
    socketPath,
    { method: "GET", path },
    (begun, done) => done(begun),
  );
  signal.addEventListener("abort", () => response.destroy());
  const { statusCode: status = 0 } = response;
  if (status === 200) return linesOf(socketPath, response, signal);
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body = (body + chunk).slice(0, MAX_LINE);
  throw refusal(socketPath, status, body);
}

async function* linesOf(
  socketPath: string,
  response: IncomingMessage,
  signal: AbortSignal,
): AsyncGenerator<CaptureLine> {
  let text = "";
  try {
    for await (const chunk of response.setEncoding("utf8")) {
      const lines = `${text}${chunk}`.split("\n");
      text = lines.pop()!;
      if (text.length > MAX_LINE) throw notAnAgent(socketPath, 200);
      for (const line of lines) yield JSON.parse(line);
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof WeftError) throw error;
  }
  if (!signal.aborted) throw noAgent(socketPath, new Error("it ended, and the capture with it"));
}
