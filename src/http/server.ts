/** Serves the API on the control socket and, if configured, on a loopback address. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Endpoint, formatAddress, formatEndpoint } from "../address.js";
import { WeftError } from "../error.js";
import { makeDirectory } from "../files/directory.js";
import { whyNotOwn } from "../host/own.js";
import { clearSocket, SocketFile } from "../host/socket.js";
import { bindUnix } from "../io/unix.js";
import { systemClock } from "../time/system-clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import { type ApiRequest, type ApiResponse, answer, refuse } from "./api.js";
import { Bodies, BodyRefused } from "./bodies.js";
import type { Control } from "./view.js";

/** Most connections of each listener. A new one closes the oldest that is not a capture. */
export const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 * 1024;
/**
 * Milliseconds within which a request must be complete, between two checks of that, and that an idle
 * connection or an unread response may wait for the other end.
 */
const REQUEST_WITHIN = 5_000;
const CHECK_EVERY = 1_000;
const IDLE = 10_000;
/** Rate limit of requests on the loopback address, which every user of the host can reach. */
export const LOOPBACK_RATE = { burst: 128, rate: 32 };
const DIRECTORY_MODE = 0o755;

/** A socket that is bound already, or an address. */
type ListenAddress = { readonly fd: number } | { readonly host: string; readonly port: number };

export interface ControlOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  readonly http?: Endpoint;
}

export class ControlServer {
  readonly #servers = new Set<Server>();
  /** The server on the control socket. */
  #control: Server | undefined;
  #file: SocketFile | undefined;
  readonly #bodies = new Bodies();
  readonly #loopback = new TokenBucket(systemClock, LOOPBACK_RATE.burst, LOOPBACK_RATE.rate);
  #removeDirectory = () => {};
  readonly #view: Control;
  readonly #options: ControlOptions;

  constructor(view: Control, options: ControlOptions) {
    this.#view = view;
    this.#options = options;
  }

  /** @throws WeftError SOCKET when an address is in use or not available */
  async start(): Promise<void> {
    const { http } = this.#options;
    try {
      await this.#openControl();
      if (http) {
        const address = { host: formatAddress(http.address), port: http.port };
        await this.#listen(address, `the HTTP address ${formatEndpoint(http)}`);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Makes the control socket again if it or its directory was removed or replaced.
   * @returns whether it was
   * @throws WeftError SOCKET as `start` does, naming the file in its place, which is not changed
   */
  async keep(): Promise<boolean> {
    if (this.#file?.isInPlace()) return false;
    const former = this.#control;
    await this.#openControl();
    // No path leads to the former socket any more. Its open requests still get their responses.
    former?.close();
    return true;
  }

  /** Closes every connection and removes the socket. */
  async stop(): Promise<void> {
    await Promise.all([...this.#servers].map(close));
    this.#file?.remove();
    this.#file = undefined;
    this.#removeDirectory();
    this.#removeDirectory = () => {};
  }

  async #openControl(): Promise<void> {
    const { socket } = this.#options;
    await clearSocket(socket);
    this.#makeDirectory(dirname(socket));
    const what = `the control socket ${socket}`;
    const fd = bound(socket, what);
    this.#file = new SocketFile(socket);
    this.#control = await this.#listen({ fd }, what);
  }

  /** Makes the directory of the socket, in which no other user may create files. */
  #makeDirectory(path: string): void {
    const before = this.#removeDirectory;
    try {
      const remove = makeDirectory(path, DIRECTORY_MODE);
      this.#removeDirectory = () => {
        remove();
        before();
      };
      const why = whyNotOwn(path, { mayShare: true });
      if (why !== undefined) throw new Error(why);
    } catch (error) {
      throw cannotListen(`the directory ${path}`, error as NodeJS.ErrnoException);
    }
  }

  async #listen(where: ListenAddress, what: string): Promise<Server> {
    const connections = new Set<Socket>();
    const respond = (request: IncomingMessage, response: ServerResponse) => {
      // A request that breaks off needs no response.
      this.#respond(request, response, { trusted: "fd" in where, connections }).catch(() =>
        response.destroy(),
      );
    };
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_WITHIN,
      requestTimeout: REQUEST_WITHIN,
      connectionsCheckingInterval: CHECK_EVERY,
    });
    server.timeout = IDLE;
    server.on("request", respond).on("checkContinue", respond);
    server.on("connection", (socket) => {
      connections.add(socket);
      socket.once("close", () => connections.delete(socket));
      const [oldest] = connections;
      if (connections.size > MAX_CONNECTIONS) oldest!.destroy();
    });
    await new Promise<void>((resolve, reject) => {
      server.on("error", (error: NodeJS.ErrnoException) => reject(cannotListen(what, error)));
      server.listen(where, resolve);
    });
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
    return server;
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
    { trusted, connections }: { trusted: boolean; connections: Set<Socket> },
  ): Promise<void> {
    const { method = "", url = "", headers, socket } = request;
    const { host, origin, expect } = headers;
    const body = (most: number): Promise<string> => {
      if (expect !== undefined && most > 0) response.writeContinue();
      return this.#bodies.read(request, most);
    };
    const site = headers["sec-fetch-site"]?.toString();
    // Compiling a policy may take a minute.
    socket.setTimeout(0);
    const answered =
      trusted || this.#loopback.spend(1)
        ? await this.#answer({ method, url, host, origin, site, trusted, body })
        : refuse(429, `more than ${LOOPBACK_RATE.rate} requests a second`);
    socket.setTimeout(IDLE);
    response.writeHead(answered.status, {
      "content-type": answered.type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(answered.allow && { allow: answered.allow }),
      // The rest of the body is never read.
      ...(!request.complete && { connection: "close" }),
    });
    if (typeof answered.body === "string") return void response.end(answered.body);
    connections.delete(socket);
    socket.setTimeout(0);
    response.flushHeaders();
    await pipeline(answered.body, response);
  }

  /** An error of a reading becomes a response: a request must never stop the agent. */
  async #answer(question: ApiRequest): Promise<ApiResponse> {
    try {
      return await answer(this.#view, question);
    } catch (error) {
      if (error instanceof BodyRefused) return refuse(error.status, error.message);
      return refuse(500, String(error));
    }
  }
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

function bound(path: string, what: string): number {
  try {
    return bindUnix(path);
  } catch (error) {
    throw cannotListen(what, error as NodeJS.ErrnoException);
  }
}

function cannotListen(what: string, { code, message }: NodeJS.ErrnoException): WeftError {
  return code === "EADDRINUSE"
    ? new WeftError("SOCKET", `${what} is already in use`, "stop what uses it, or choose another")
    : new WeftError("SOCKET", `${what} cannot be opened: ${message}`, "choose another");
}
