/** Peers with the secret that request much and read nothing. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { WeftError } from "../../src/error.js";
import { Identity } from "../../src/identity/identity.js";
import { derivePsk } from "../../src/identity/secret.js";
import { POLICY } from "../../src/policy/kind.js";
import { PROTOCOL_VERSION } from "../../src/session/messages.js";
import {
  CHECK_EVERY,
  MAX_QUEUED,
  MESSAGE_OVERHEAD,
  type SendQueue,
  SendQueues,
} from "../../src/session/send-queues.js";
import { node, SECRET, sees, stopAll, until } from "../mesh/nodes.js";

const STRANGERS = 60;
const MIB = 1024 * 1024;

afterEach(stopAll);

/** A WebSocket of a holder of the secret, and its TCP socket. */
async function connected(port: number): Promise<{ socket: WebSocket; stream: TLSSocket }> {
  const { identity: name, key: psk } = derivePsk(SECRET);
  let stream: TLSSocket | undefined;
  const createConnection = (): Socket => {
    stream = connectTls({
      host: "127.0.0.1",
      port,
      minVersion: "TLSv1.3",
      ciphers: "TLS_AES_128_GCM_SHA256:PSK",
      pskCallback: () => ({ identity: name, psk }),
      checkServerIdentity: () => undefined,
    });
    return stream;
  };
  const socket = new WebSocket(`wss://127.0.0.1:${port}`, { createConnection });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("open", resolve));
  return { socket, stream: stream! };
}

/** Sends hello with a new identity, requests all parts of a policy, and reads no more. */
async function slowReader(port: number, digest: string): Promise<WebSocket> {
  const { socket, stream } = await connected(port);
  const identity = Identity.generate();
  const instance = "66".repeat(16);
  const binding = stream.exportKeyingMaterial(32, "EXPORTER-weft-mesh", Buffer.alloc(0));
  const { publicKey } = identity;
  const proof = ["dialer", publicKey, instance, binding.toString("hex")].join("\n");
  const say = (message: object) => socket.send(JSON.stringify(message));
  const signature = identity.sign(`weft hello ${PROTOCOL_VERSION}\n${proof}`);
  say({ type: "hello", protocol: PROTOCOL_VERSION, key: publicKey, instance, signature });
  socket.pause();
  for (let part = 0; part < 88; part++)
    say({ type: "document-want", kind: "policy", digest, part });
  return socket;
}

/** A policy of almost the maximum length, and its text. */
const policy = (name: string) =>
  JSON.stringify({ policies: [{ name, applies: ["10.244.0.0/16"], ingress: [] }] }).padEnd(
    3.9 * MIB,
  );

describe("peers that made up their identities and read nothing", () => {
  it("hold no more than the bound in memory, and a member's session lives", async () => {
    const a = await node("a");
    await until(() => a.mesh.self().leases.length > 0);
    const { digest } = (await a.mesh.applyDocument(POLICY, policy("first"))).seal;
    const b = await node("b", { joins: [a] });
    await until(() => sees(a, "b") && sees(b, "a"));
    await until(() => b.mesh.document(POLICY)?.seal.digest === digest);
    const before = process.memoryUsage().rss;
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);

    const readers = await Promise.all(
      Array.from({ length: STRANGERS }, () => slowReader(a.port, digest)),
    );
    // The data beyond the kernel's buffers waits in the process: some 4 MiB for each peer.
    await sleep(4_000);
    clearInterval(watch);
    const slow = a.said.filter((line) => line.includes("the other end reads too slowly"));
    expect(slow.length).toBeGreaterThan(0);
    expect((most - before) / MIB).toBeLessThan(250);

    const second = (await a.mesh.applyDocument(POLICY, policy("second"))).seal.digest;
    await until(() => b.mesh.document(POLICY)?.seal.digest === second);
    expect(sees(a, "b")).toBe(true);
    expect(b.said.filter((line) => line.includes("session with a ended"))).toEqual([]);
    for (const reader of readers) reader.terminate();
  });
});

describe("a session that sends frames which no node sends ends at the first:", () => {
  const MASK = Buffer.alloc(4);
  /** RFC 6455, section 5.2: FIN, opcode, MASK, a payload of one byte. */
  const frame = (isLast: boolean, opcode: number) =>
    Buffer.concat([Buffer.from([isLast ? 0x80 | opcode : opcode, 0x81]), MASK, Buffer.from("a")]);
  const [CONTINUATION, TEXT, PING, PONG] = [0x0, 0x1, 0x9, 0xa];

  it.each([
    ["pings, which would cost an answer", [frame(true, PING)]],
    ["pongs", [frame(true, PONG)]],
    ["a message in fragments", [frame(false, TEXT), frame(false, CONTINUATION)]],
  ])("%s", async (_, frames) => {
    const a = await node("a");
    const { socket, stream } = await connected(a.port);
    let ponged = 0;
    socket.on("pong", () => ponged++);
    const closed = once(socket, "close", { signal: AbortSignal.timeout(3_000) });
    stream.write(Buffer.concat(frames));
    await closed;
    expect(ponged).toBe(0);
  });
});

describe("of the queues", () => {
  class Waiting implements SendQueue {
    ended: WeftError | undefined;
    constructor(
      readonly queues: SendQueues,
      readonly isMember: boolean,
      public queued = 0,
    ) {
      queues.add(this);
    }
    abort(reason: WeftError): void {
      this.ended = reason;
      this.queues.remove(this);
    }
  }
  const queues = () => {
    const all = new SendQueues();
    const make = (bytes: number, isMember = false) => new Waiting(all, isMember, bytes);
    return { all, make, look: () => all.sent(CHECK_EVERY) };
  };

  it("the longest of strangers end, until all of theirs are within their bound", () => {
    const { make, look } = queues();
    const member = make(MAX_QUEUED.one, true);
    const strangers = [5, 4, 3, 2, 1, 3, 2].map((mib) => make(mib * MIB));
    look();
    expect(strangers.map(({ ended }) => ended?.code)).toEqual([
      "SLOW",
      ...Array(6).fill(undefined),
    ]);
    expect(member.ended).toBeUndefined();
  });

  it("the longest of all end when all together are too long, a member's too", () => {
    const { make, look } = queues();
    const members = [10, 15, 12, 11, 14, 8].map((mib) => make(mib * MIB, true));
    const stranger = make(MIB);
    look();
    expect(members.map(({ ended }) => ended !== undefined)).toEqual([
      false,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(stranger.ended).toBeUndefined();
  });

  it("one that is too long ends by itself", () => {
    const { make, look } = queues();
    const [long, other] = [make(MAX_QUEUED.one + 1, true), make(MAX_QUEUED.one, true)];
    look();
    expect(long.ended?.message).toMatch(/reads too slowly: 16777217 bytes wait for it/);
    expect(other.ended).toBeUndefined();
  });

  it("nothing is looked at before so much was sent, however short the messages are", () => {
    const { all, make } = queues();
    const long = make(MAX_QUEUED.one + 1);
    for (let n = 1; n < CHECK_EVERY / MESSAGE_OVERHEAD; n++) all.sent(0);
    expect(long.ended).toBeUndefined();
    all.sent(0);
    expect(long.ended?.code).toBe("SLOW");
  });
});
