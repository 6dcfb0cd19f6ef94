/** Sends requests to the agent on this host, through its control socket. */
import { statSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import type { Progress } from "../document-sync/progress.js";
import { WeftError } from "../error.js";
import type { ServiceRow } from "../nat/service-rows.js";
import type { Reading } from "./api.js";
import type {
  ApplyOptions,
  DocumentView,
  Explained,
  FlowRow,
  NatReport,
  PolicyReport,
  Readings,
} from "./view.js";

const TIMEOUT_MS = 5_000;
/** Milliseconds. Reading and compiling a policy takes a minute each at most; another may be ahead of it. */
const APPLY_TIMEOUT_MS = 300_000;
/** Milliseconds. The agent waits 4 s for other nodes; the rest is for busy hosts. */
const EXPLAIN_TIMEOUT_MS = 10_000;
/** Most bytes of a response: some hundred thousand routes. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** @throws WeftError NO_AGENT without a response, ANSWER for a response that is not an agent's */
export async function ask<R extends Reading>(
  socketPath: string,
  reading: R,
): Promise<ReturnType<Readings[R]>> {
  const { status, body } = await call(socketPath, { method: "GET", path: `/v1/${reading}` });
  const answer = status === 200 ? parsed(body) : undefined;
  if (answer === undefined) throw notAnAgent(socketPath, status);
  return answer;
}

/** Makes the agent forget a node. @returns its subnets @throws WeftError with the agent's reason */
export async function forget(
  socketPath: string,
  name: string,
  force: boolean,
): Promise<readonly string[]> {
  const query = new URLSearchParams({ name, force: String(force) });
  const { subnets } = await control<{ subnets: string[] }>(
    socketPath,
    "POST",
    `/v1/forget?${query}`,
  );
  return subnets;
}

/** @throws WeftError with the agent's reason */
export async function applyPolicy(
  socketPath: string,
  text: string,
  { dryRun, resetVersion }: ApplyOptions,
): Promise<PolicyReport> {
  const path = `/v1/policy?dry-run=${dryRun}&reset-version=${resetVersion}`;
  return control(socketPath, "POST", path, text, APPLY_TIMEOUT_MS);
}

export const getPolicy = (socketPath: string): Promise<DocumentView | null> =>
  control(socketPath, "GET", "/v1/policy");

/** @throws WeftError with the agent's reason */
export const applyNat = (
  socketPath: string,
  text: string,
  { dryRun, resetVersion }: ApplyOptions,
): Promise<NatReport> =>
  control(
    socketPath,
    "POST",
    `/v1/nat?dry-run=${dryRun}&reset-version=${resetVersion}`,
    text,
    APPLY_TIMEOUT_MS,
  );

export const getNat = (socketPath: string): Promise<DocumentView | null> =>
  control(socketPath, "GET", "/v1/nat");

/** Returns which of the known nodes have the newest document of address translation in force. */
export const natProgress = (socketPath: string): Promise<Progress> =>
  control(socketPath, "GET", "/v1/nat/nodes");

/** Returns which of the known nodes have the newest policy in force. */
export const policyProgress = (socketPath: string): Promise<Progress> =>
  control(socketPath, "GET", "/v1/policy/nodes");

/** @throws WeftError when the agent cannot build such a packet */
export const explain = (
  socketPath: string,
  question: object,
  options: { readonly here: boolean },
): Promise<Explained> =>
  control(
    socketPath,
    "POST",
    `/v1/explain?here=${options.here}`,
    JSON.stringify(question),
    EXPLAIN_TIMEOUT_MS,
  );

/** The connections between these addresses or prefixes. */
export const flows = (
  socketPath: string,
  ends: Readonly<Record<string, string>>,
): Promise<readonly FlowRow[]> =>
  control(socketPath, "GET", `/v1/flows?${new URLSearchParams(ends)}`);

/** The services, and the ports that this node publishes. */
export const services = (socketPath: string): Promise<readonly ServiceRow[]> =>
  control(socketPath, "GET", "/v1/services");

/** Sends a request that only the control socket accepts. */
async function control<T>(
  socketPath: string,
  method: "GET" | "POST",
  path: string,
  sent?: string,
  withinMs?: number,
): Promise<T> {
  const { status, body } = await call(socketPath, { method, path, body: sent, withinMs });
  if (status !== 200) throw refusal(socketPath, status, body);
  const answer = parsed(body);
  if (answer === undefined) throw notAnAgent(socketPath, status);
  return answer as T;
}

/** The error in a response of the agent. */
export function refusal(socketPath: string, status: number, body: string): WeftError {
  const { code, error, remedy } = (status === 409 && parsed(body)) || {};
  return code ? new WeftError(code, error, remedy) : notAnAgent(socketPath, status);
}

function parsed(body: string) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

interface ControlRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string | undefined;
  /** Milliseconds until the response must have arrived. */
  readonly withinMs?: number | undefined;
}

/**
 * Sends a request to the agent.
 * @param take receives the response, and calls `done` with its result, or `fail`
 * @throws WeftError NO_AGENT without a response in time
 */
export function exchange<T>(
  socketPath: string,
  { method, path, body = "", withinMs = TIMEOUT_MS }: ControlRequest,
  take: (response: IncomingMessage, done: (taken: T) => void, fail: (error: Error) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const headers = { host: "localhost" };
    const call = request({ socketPath, method, path, headers, agent: false });
    let isLate = false;
    const fail = (error: NodeJS.ErrnoException) => {
      call.destroy();
      if (!isLate) reject(noAgent(socketPath, error));
    };
    const deadline = setTimeout(() => {
      isLate = true;
      call.destroy();
      silent(socketPath, withinMs).then(reject, reject);
    }, withinMs);
    const done = (taken: T) => {
      clearTimeout(deadline);
      resolve(taken);
    };
    call.once("close", () => clearTimeout(deadline)).on("error", fail);
    call.once("response", (response) => take(response, done, fail));
    call.end(body);
  });
}

const call = (
  socketPath: string,
  sent: ControlRequest,
): Promise<{ status: number; body: string }> =>
  exchange(socketPath, sent, (response, done, fail) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("error", fail).on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) fail(new Error("the answer is too long"));
      else chunks.push(chunk);
    });
    response.once("end", () =>
      done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
    );
  });

export const notAnAgent = (socketPath: string, status: number): WeftError =>
  new WeftError(
    "ANSWER",
    `the process that answers on ${socketPath} does not respond as a weft agent does (HTTP ${status})`,
    "check --socket, and that the agent is of the same version",
  );

/** The error for a process that has the socket open and does not respond. */
async function silent(socketPath: string, withinMs: number): Promise<WeftError> {
  const { inWords, isSuspended, listenerAt } = await import("../host/other-agent.js");
  const agent = listenerAt(socketPath);
  const who = agent ? `the agent (${inWords(agent)})` : "the agent";
  const what = `${who} that holds ${socketPath}`;
  const within = `no answer within ${withinMs / 1000} seconds`;
  if (agent && isSuspended(agent)) {
    return new WeftError(
      "NO_AGENT",
      `${what} is suspended: ${within}`,
      `resume it with: kill -CONT ${agent.pid}`,
    );
  }
  return new WeftError(
    "NO_AGENT",
    `${what} does not answer: ${within}`,
    agent
      ? `see what it is doing with: top -H -p ${agent.pid}; if that goes on, end it with kill -KILL ${agent.pid} and start it again`
      : `find it with: ss -xlp src ${socketPath}`,
  );
}

/** Linux refuses a connection to a regular file as it does one to a socket without a listener. */
const whyRefused = (path: string): string =>
  statSync(path, { throwIfNoEntry: false })?.isSocket() === false
    ? "it is no socket"
    : "it stopped";

export function noAgent(socketPath: string, { code, message }: NodeJS.ErrnoException): WeftError {
  if (code === "EACCES") {
    return new WeftError(
      "NO_AGENT",
      `${socketPath} may not be opened by this user`,
      "run the command as root, or as a member of the socket's group",
    );
  }
  const why =
    code === "ENOENT"
      ? "there is no such socket"
      : code === "ECONNREFUSED"
        ? whyRefused(socketPath)
        : message;
  return new WeftError(
    "NO_AGENT",
    `no agent answers on ${socketPath}: ${why}`,
    "start one with: weft up, or name its socket with --socket",
  );
}
