/** Probes backends for their checks: a TCP connection, or an HTTP request over one. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { type Endpoint, formatAddress } from "../address.js";
import type { Prober } from "./health.js";

/** Bytes of a response beyond which its body is not read. */
export const MAX_BODY = 64 * 1024;
const MAX_HEADER = 16 * 1024;

export const probeBackend: Prober = async (to, { path }, signal) => {
  try {
    return path === undefined ? await probeTcp(to, signal) : await probeHttp(to, path, signal);
  } catch (error) {
    return reasonOf(error as NodeJS.ErrnoException);
  }
};

async function probeTcp({ address, port }: Endpoint, signal: AbortSignal): Promise<undefined> {
  const socket = connect({ host: formatAddress(address), port });
  // Whatever comes after the connection is open says nothing about the check.
  socket.on("error", () => {});
  try {
    await once(socket, "connect", { signal });
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function probeHttp(
  { address, port }: Endpoint,
  path: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const request = get({
    host: formatAddress(address),
    port,
    path,
    agent: false,
    maxHeaderSize: MAX_HEADER,
    headers: { "user-agent": "weft", accept: "*/*" },
    signal,
  });
  // The error that ends the probe is taken below; none that comes after it may end the agent.
  request.on("error", () => {});
  try {
    const answers = ["response", "upgrade"].map((event) => once(request, event, { signal }));
    const [response] = (await Promise.race(answers)) as [IncomingMessage];
    response.on("error", () => {});
    const { statusCode = 0 } = response;
    if (statusCode < 200 || statusCode >= 400) return `status ${statusCode}`;
    let read = 0;
    for await (const { length } of response) {
      read += length;
      if (read > MAX_BODY) break;
    }
    return undefined;
  } finally {
    request.destroy();
    request.socket?.destroy();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "the host is unreachable",
  ENETUNREACH: "the network is unreachable",
  EACCES: "the connection is not allowed",
  HPE_HEADER_OVERFLOW: `more than ${MAX_HEADER} bytes of headers`,
};

function reasonOf({ code = "", message }: NodeJS.ErrnoException): string {
  if (code.startsWith("HPE_") && !REASONS[code]) return "the answer is not HTTP";
  return REASONS[code] ?? message;
}
