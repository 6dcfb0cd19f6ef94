/** Serves the API on the control socket and, when asked to, on a loopback address. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { ListenOptions } from "node:net";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Endpoint, formatAddress, formatEndpoint } from "../address.js";
import { WeftError } from "../error.js";
import { makeDirectory } from "../host/directory.js";
import { clearSocket } from "../host/socket.js";
import { type Answer, answer, type Question, refuse } from "./api.js";
import type { Control } from "./view.js";

const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 * 1024;
/** The longest policy, where each character takes two bytes. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 5_000;
/** What mode 0660 leaves out: everything for others, and execution. */
const SOCKET_UMASK = 0o117;
const DIRECTORY_MODE = 0o755;

export interface ControlOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  readonly http?: Endpoint;
}

export class ControlServer {
  readonly #servers: Server[] = [];
  #removeDirectory = () => {};

  constructor(
    private readonly view: Control,
    private readonly options: ControlOptions,
  ) {}

  /** @throws WeftError SOCKET when an address is taken or cannot be had */
  async start(): Promise<void> {
    const { socket, http } = this.options;
    try {
      await clearSocket(socket);
      this.#makeDirectory(dirname(socket));
      await this.#listen({ path: socket }, `the control socket ${socket}`);
      if (http) {
        const address = { host: formatAddress(http.address), port: http.port };
        await this.#listen(address, `the HTTP address ${formatEndpoint(http)}`);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Closes every connection and removes the socket. */
  async stop(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map(close));
    this.#removeDirectory();
    this.#removeDirectory = () => {};
  }

  #makeDirectory(path: string): void {
    try {
      this.#removeDirectory = makeDirectory(path, DIRECTORY_MODE);
    } catch (error) {
      throw cannotListen(`the directory ${path}`, error as NodeJS.ErrnoException);
    }
  }

  async #listen(where: ListenOptions, what: string): Promise<void> {
    const server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => {
        // A request that breaks off has nobody left to answer.
        this.#respond(request, response, "path" in where).catch(() => response.destroy());
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.on("error", (error: NodeJS.ErrnoException) => reject(cannotListen(what, error)));
      // The socket is made inside listen(): with the umask set, it is never open to others.
      const before = process.umask(SOCKET_UMASK);
      server.listen(where, resolve);
      process.umask(before);
    });
    this.#servers.push(server);
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
    trusted: boolean,
  ): Promise<void> {
    const { method = "", url = "", headers } = request;
    const { host, origin } = headers;
    const body = await read(request);
    const answered =
      body === undefined
        ? refuse(413, `the body is longer than ${MAX_BODY_BYTES} bytes`)
        : await this.#answer({ method, url, host, origin, trusted, body });
    response.writeHead(answered.status, {
      "content-type": answered.type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(answered.allow && { allow: answered.allow }),
      ...(body === undefined && { connection: "close" }),
    });
    if (typeof answered.body === "string") return void response.end(answered.body);
    response.flushHeaders();
    await pipeline(answered.body, response);
  }

  /** A reading that breaks is answered as such: asking must not stop the network. */
  async #answer(question: Question): Promise<Answer> {
    try {
      return await answer(this.view, question);
    } catch (error) {
      return refuse(500, String(error));
    }
  }
}

/** Nothing when it is too long. */
async function read(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

function cannotListen(what: string, { code, message }: NodeJS.ErrnoException): WeftError {
  return code === "EADDRINUSE"
    ? new WeftError("SOCKET", `${what} is already in use`, "stop what uses it, or choose another")
    : new WeftError("SOCKET", `${what} cannot be opened: ${message}`, "choose another");
}
