/** Reads from the agent on this host what it captures, for as long as that is wanted. */
import { type IncomingMessage, request } from "node:http";
import { WeftError } from "../error.js";
import { noAgent, notAnAgent, refusal, silent } from "./client.js";
import type { CaptureLine } from "./view.js";

const TIMEOUT_MS = 5_000;
/** A packet of 64 KiB in hex, and what is said of it. */
const MAX_LINE = 256 * 1024;

/**
 * The lines of a capture, until `signal` ends it.
 * @throws WeftError NO_AGENT, or what the agent says is in the way
 */
export async function captured(
  socketPath: string,
  options: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<AsyncGenerator<CaptureLine>> {
  const response = await begun(socketPath, `/v1/capture?${new URLSearchParams(options)}`);
  signal.addEventListener("abort", () => response.destroy());
  const { statusCode: status = 0 } = response;
  if (status === 200) return linesOf(socketPath, response, signal);
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body = (body + chunk).slice(0, MAX_LINE);
  throw refusal(socketPath, status, body);
}

function begun(socketPath: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: "localhost" };
    const call = request({ socketPath, path, headers, agent: false });
    let isLate = false;
    const fail = (error: NodeJS.ErrnoException) => {
      call.destroy();
      if (!isLate) reject(noAgent(socketPath, error));
    };
    const deadline = setTimeout(() => {
      isLate = true;
      call.destroy();
      silent(socketPath, TIMEOUT_MS).then(reject, reject);
    }, TIMEOUT_MS);
    call.on("error", fail).once("response", (response) => {
      clearTimeout(deadline);
      resolve(response);
    });
    call.end();
  });
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
