/**
 * The real transport: WebSockets over TLS 1.3 with an external pre-shared key (RFC 8446, 2.2) and no
 * certificates. A host without the cluster secret fails in the handshake, before either end sends a
 * message.
 */
import { constants } from "node:crypto";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { createServer, type Server, type Socket, type TcpNetConnectOpts } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { WebSocket, WebSocketServer } from "ws";
import { WeftError } from "../error.js";
import { evictOldest } from "../evict-oldest.js";
import { derivePsk, type Psk } from "../identity/secret.js";
import type { Log } from "../log.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import {
  AdmissionControl,
  HANDSHAKE_TIMEOUT,
  type Refusals,
  sourceOf,
} from "./admission-control.js";
import { MAX_MESSAGE_BYTES } from "./messages.js";
import { MESSAGE_OVERHEAD } from "./send-queues.js";
import {
  CLOSE_TIMEOUT,
  type Connection,
  type ConnectionEvents,
  hostPort,
  type ListenAddress,
  type Transport,
} from "./transport.js";

const CIPHERS = "TLS_AES_128_GCM_SHA256:PSK";
const EXPORTER = "EXPORTER-weft-mesh";
/** Time for a WebSocket's close handshake when the node stops, in milliseconds. */
const STOP_TIMEOUT = 1_000;
/** Most accepted connections, handshakes included. */
export const MAX_CONNECTIONS = 2048;
/**
 * Options of every WebSocket. A node sends each message as one frame; a fragmented message would
 * take some 100 bytes of memory for each of thousands of fragments. The types of ws lack the last
 * three options.
 */
const SOCKET_OPTIONS = {
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  autoPong: false,
  maxFragments: 1,
  maxBufferedChunks: 256,
  closeTimeout: CLOSE_TIMEOUT,
};
/** Least time between two warnings about one refused source, in milliseconds. */
const WARN_AGAIN_AFTER = 60_000;
const MAX_WARNED = 1024;
/** Warnings about all refused sources together: at once, and per second. */
export const WARNINGS_RATE = { burst: 32, rate: 0.5 };

/** TLS alerts by which an OpenSSL server refuses a pre-shared key (RFC 8446, 6). */
const SECRET_ALERTS = /SSL alert number (40|47|51|115)\b/;

export interface WsTransportParts {
  readonly clock: Clock;
  readonly log: Log;
}

export class WsTransport implements Transport {
  readonly #parts: WsTransportParts;
  #psks: readonly Psk[] = [];
  /** Every WebSocket, with the key of its handshake. */
  readonly #sockets = new Map<WebSocket, Psk>();
  /** The key that a client named in its handshake. */
  readonly #offered = new WeakMap<Socket, Psk>();
  /** Every accepted connection, handshakes included. */
  readonly #clients = new Set<Socket>();
  readonly #admission: AdmissionControl;
  /** By connection, the function to call when it has shown the secret. */
  readonly #onAuthenticated = new Map<string, () => void>();
  /** By source, the time of its last warning by `clock.elapsed`. */
  readonly #warnedAt = new Map<string, number>();
  readonly #warnings: TokenBucket;
  #server: Server | undefined;

  /** Dials with the first secret and accepts any of them. */
  constructor(parts: WsTransportParts, { secrets }: { secrets: readonly string[] }) {
    this.#parts = parts;
    this.#admission = new AdmissionControl(parts.clock);
    this.#warnings = new TokenBucket(parts.clock, WARNINGS_RATE.burst, WARNINGS_RATE.rate);
    this.setSecrets(secrets);
  }

  /** Counts connections that were ended before they showed the secret. */
  get refused(): Readonly<Refusals> {
    return this.#admission.refused;
  }

  /** Dials with the first secret and accepts any of them from now on. Connections with another one end. */
  setSecrets(secrets: readonly string[]): void {
    if (secrets.length === 0) {
      throw new WeftError(
        "SECRET_MISSING",
        "no cluster secret was given",
        "pass --secret-file FILE",
      );
    }
    this.#psks = secrets.map(derivePsk);
    for (const [socket, psk] of this.#sockets) if (!this.#accepts(psk)) socket.terminate();
  }

  listen(at: ListenAddress, accept: (connection: Connection) => void): Promise<number> {
    const upgrades = this.#makeUpgrades(accept);
    const server = createServer({ noDelay: true }, (client) => this.#admit(client, upgrades));
    server.maxConnections = MAX_CONNECTIONS;
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(cannotListen(at, error)));
      server.listen(at.port, at.address, () => {
        server.removeAllListeners("error");
        server.on("error", (error) => this.#parts.log.error(`mesh port: ${error.message}`));
        this.#server?.close();
        this.#server = server;
        resolve((server.address() as { port: number }).port);
      });
    });
  }

  #admit(client: Socket, upgrades: HttpsServer): void {
    client.on("error", () => {}); // The close event that follows is enough.
    const onAuthenticated = this.#admission.admit(client);
    if (!onAuthenticated) {
      this.#warnTooMany(client);
      return;
    }
    const end = endOf(client);
    this.#clients.add(client);
    this.#onAuthenticated.set(end, onAuthenticated);
    client.once("close", () => {
      this.#clients.delete(client);
      this.#onAuthenticated.delete(end);
    });
    upgrades.emit("connection", client);
  }

  /** A server that turns connections into WebSockets. It listens on no port itself. */
  #makeUpgrades(accept: (connection: Connection) => void): HttpsServer {
    const server = createHttpsServer(
      {
        minVersion: "TLSv1.3",
        ciphers: CIPHERS,
        // No session tickets: a removed secret must stop working at once.
        secureOptions: constants.SSL_OP_NO_TICKET,
        handshakeTimeout: HANDSHAKE_TIMEOUT,
        pskCallback: (client, identity) => this.#keyOf(client as TLSSocket, identity),
      },
      (_, response) => response.writeHead(426, { connection: "close" }).end(),
    );
    server.on("tlsClientError", (error, socket) => this.#handshakeFailed(error, socket));
    const sockets = new WebSocketServer({
      server,
      ...SOCKET_OPTIONS,
    });
    sockets.on("connection", (socket, { socket: client }) => {
      const psk = this.#offered.get(client);
      // The secret may have been removed during the handshake.
      if (!psk || !this.#accepts(psk)) return socket.terminate();
      this.#onAuthenticated.get(endOf(client))?.();
      this.#track(socket, psk);
      accept(new WsConnection(socket, client as TLSSocket));
    });
    return server;
  }

  dial(address: string, done: (result: Connection | WeftError) => void): void {
    let stream: TLSSocket | undefined;
    let failure: Error | undefined;
    const psk = this.#psks[0]!;
    const createConnection = (to: unknown): TLSSocket => {
      stream = connectWith(psk, to as TcpNetConnectOpts);
      return stream;
    };
    const socket = new WebSocket(`wss://${address}/`, {
      ...SOCKET_OPTIONS,
      handshakeTimeout: HANDSHAKE_TIMEOUT,
      createConnection,
    });
    this.#track(socket, psk);
    const failed = () => done(cannotDial(address, failure));
    socket.once("close", failed);
    socket.once("error", (error) => {
      failure = error;
    });
    socket.once("open", () => {
      socket.off("close", failed);
      this.#admission.authenticated(stream!.remoteAddress);
      done(new WsConnection(socket, stream!));
    });
  }

  async close(): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) =>
      server ? server.close(() => resolve()) : resolve(),
    );
    await Promise.all([...this.#sockets.keys()].map((socket) => this.#closeSocket(socket)));
    for (const client of this.#clients) client.destroy();
    await closed;
  }

  #accepts({ identity }: Psk): boolean {
    return this.#psks.some((psk) => psk.identity === identity);
  }

  #keyOf(client: TLSSocket, identity: string): Buffer | null {
    const psk = this.#psks.find((it) => it.identity === identity);
    if (psk) this.#offered.set(client, psk);
    return psk?.key ?? null;
  }

  #track(socket: WebSocket, psk: Psk): void {
    this.#sockets.set(socket, psk);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #closeSocket(socket: WebSocket): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(STOP_TIMEOUT, () => socket.terminate());
      socket.once("close", () => {
        cancel();
        resolve();
      });
      socket.close();
    });
  }

  #handshakeFailed(error: Error & { code?: string }, socket: TLSSocket): void {
    const code = error.code ?? "";
    if (!code.startsWith("ERR_SSL")) return;
    this.#warn(socket, REFUSALS[code] ?? "it does not speak the mesh's TLS");
  }

  #warnTooMany(client: Socket): void {
    const { rate, crowded } = this.refused;
    this.#warn(client, `it connects too often (${rate + crowded} connections ended so far)`);
  }

  /**
   * Warns at most once in WARN_AGAIN_AFTER about each source, and at WARNINGS_RATE about all, so
   * that strangers cannot fill the disk.
   */
  #warn(client: Socket, why: string): void {
    const source = sourceOf(client.remoteAddress);
    const now = this.#parts.clock.elapsed();
    if (now - (this.#warnedAt.get(source) ?? Number.NEGATIVE_INFINITY) < WARN_AGAIN_AFTER) return;
    if (!this.#warnings.spend(1)) return;
    this.#warnedAt.delete(source);
    this.#warnedAt.set(source, now);
    evictOldest(this.#warnedAt, MAX_WARNED);
    this.#parts.log.warn(`refused ${plainAddress(client.remoteAddress)}: ${why}`);
  }
}

const connectWith = ({ identity, key }: Psk, { host, port }: TcpNetConnectOpts): TLSSocket =>
  connect({
    host,
    port,
    minVersion: "TLSv1.3",
    ciphers: CIPHERS,
    pskCallback: () => ({ identity, psk: key }),
    // With a pre-shared key a server shows no certificate; one that shows a certificate is no node.
    ca: [],
    // Set explicitly, so that NODE_TLS_REJECT_UNAUTHORIZED cannot make a certificate replace the secret.
    rejectUnauthorized: true,
    checkServerIdentity: (_, certificate) =>
      Object.keys(certificate).length > 0 ? new Error("it shows a certificate") : undefined,
  });

const WRONG_SECRET = "the secret does not match (it has another cluster secret, or none)";
const REFUSALS: { readonly [code: string]: string } = {
  // The client names a key that this node lacks: OpenSSL then looks for a certificate and finds none.
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: WRONG_SECRET,
  ERR_SSL_BINDER_DOES_NOT_VERIFY: WRONG_SECRET,
};

class WsConnection implements Connection {
  readonly remote: string;
  readonly channelBinding: Uint8Array;
  readonly #socket: WebSocket;
  #queued = 0;

  constructor(socket: WebSocket, stream: TLSSocket) {
    this.#socket = socket;
    this.remote = hostPort(plainAddress(stream.remoteAddress), stream.remotePort ?? 0);
    this.channelBinding = stream.exportKeyingMaterial(32, EXPORTER, Buffer.alloc(0));
  }

  open(events: ConnectionEvents): void {
    // No message is binary. The empty text in its place is invalid and ends the session.
    this.#socket.on("message", (data, isBinary) => events.message(isBinary ? "" : data.toString()));
    this.#socket.on("error", () => this.#socket.terminate());
    // Nodes never send these frames, and no rate limit counts them.
    for (const frame of ["ping", "pong"]) this.#socket.on(frame, () => this.#socket.terminate());
    this.#socket.once("close", () => events.closed());
  }

  get queued(): number {
    return this.#queued;
  }

  send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const data = Buffer.from(text);
    const bytes = data.length + MESSAGE_OVERHEAD;
    this.#queued += bytes;
    // The callback comes when the kernel has taken the data; until then the socket, TLS or ws holds it.
    this.#socket.send(data, { binary: false }, () => {
      this.#queued -= bytes;
    });
  }

  close(): void {
    this.#socket.close();
  }

  abort(): void {
    this.#socket.terminate();
  }
}

function cannotListen({ address, port }: ListenAddress, error: NodeJS.ErrnoException): WeftError {
  if (error.code === "EADDRINUSE") {
    return new WeftError(
      "MESH_PORT",
      `the mesh port ${hostPort(address, port)} is in use`,
      "stop the program that holds it, or choose another --mesh-port",
    );
  }
  return new WeftError(
    "MESH_LISTEN",
    `cannot listen on ${hostPort(address, port)} (${error.code})`,
    "choose an --underlay address of this host and a free --mesh-port",
  );
}

function cannotDial(address: string, error: NodeJS.ErrnoException | undefined): WeftError {
  const message = error?.message ?? "";
  if (SECRET_ALERTS.test(message)) {
    return new WeftError(
      "SECRET",
      "the secret does not match: it was refused in the handshake",
      "give all nodes of a cluster the same secret",
    );
  }
  const why = DIAL_ERRORS[error?.code ?? ""];
  if (why)
    return new WeftError(
      "UNREACHABLE",
      why,
      `check that weft runs at ${address}, that "weft status" there shows that underlay address (else start it with --underlay), and that no firewall is between`,
    );
  return new WeftError(
    "NOT_A_NODE",
    `the process that answers there is not a weft node (${error?.code ?? message.slice(0, 100)})`,
    "check the address and the mesh port",
  );
}

const DIAL_ERRORS: { readonly [code: string]: string } = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  EADDRNOTAVAIL: "this host has no address of that family",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ETIMEDOUT: "no answer",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name service does not answer",
};

/** Names an accepted connection by its remote address and port. */
const endOf = ({ remoteAddress, remotePort }: Socket): string =>
  hostPort(remoteAddress ?? "", remotePort ?? 0);

const plainAddress = (address: string | undefined): string =>
  (address ?? "unknown").replace(/^::ffff:/, "");
