/** Checks of real servers on loopback. */
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { parseEndpoint } from "../../src/address.js";
import { probeBackend } from "../../src/nat/prober.js";
import type { Check } from "../../src/nat/service.js";

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await Promise.all(servers.splice(0).map((it) => new Promise((done) => it.close(done))));
});

async function listen(server: Server, host = "127.0.0.1"): Promise<string> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket.on("error", () => {}));
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  const { port } = server.address() as { port: number };
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
const http = (respond: RequestListener, host?: string) => listen(createHttpServer(respond), host);
const raw = (answer: string) =>
  listen(createServer((socket) => socket.on("data", () => socket.write(answer))));

const TIMES = { interval: 5_000, timeout: 2_000 };
const probe = (to: string, check: Pick<Check, "kind" | "path">, signal?: AbortSignal) =>
  probeBackend(parseEndpoint(to), { ...check, ...TIMES }, signal ?? new AbortController().signal);
const TCP = { kind: "tcp" } as const;
const HTTP = { kind: "http", path: "/health?deep=1" } as const;

/** An endpoint on which no server listens. */
async function closed(): Promise<string> {
  const to = await listen(createServer());
  await new Promise((done) => servers.pop()!.close(done));
  return to;
}

describe("a tcp check", () => {
  it("passes when the connection opens, and closes it", async () => {
    const ended = new Promise((done) => {
      const server = createServer((socket) => socket.on("close", done).resume());
      void listen(server).then(async (to) => expect(await probe(to, TCP)).toBe(undefined));
    });
    await ended;
  });

  it("fails when it is refused", async () => {
    expect(await probe(await closed(), TCP)).toBe("connection refused");
  });

  it("passes over IPv6", async () => {
    expect(await probe(await listen(createServer(), "::1"), TCP)).toBe(undefined);
  });
});

describe("an http check", () => {
  it.each([200, 204, 301, 304, 399])(
    "passes with status %i, and follows no redirect",
    async (status) => {
      const asked: string[] = [];
      const to = await http((request, response) => {
        asked.push(`${request.method} ${request.url} ${request.headers.host}`);
        response.writeHead(status, { location: "/elsewhere" }).end();
      });
      expect(await probe(to, HTTP)).toBe(undefined);
      expect(asked).toEqual([`GET /health?deep=1 ${to}`]);
    },
  );

  it.each([400, 404, 500, 503])("fails with status %i", async (status) => {
    const to = await http((_, response) => response.writeHead(status).end("sorry"));
    expect(await probe(to, HTTP)).toBe(`status ${status}`);
  });

  it("passes over IPv6", async () => {
    const to = await http((_, response) => response.end(), "::1");
    expect(await probe(to, HTTP)).toBe(undefined);
  });

  it("does not read a body without end", async () => {
    let written = 0;
    const to = await http((_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384))) written += 16_384;
      };
      response.on("drain", more);
      more();
    });
    expect(await probe(to, HTTP)).toBe(undefined);
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  it.each([
    [
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
      /^status 101$/,
    ],
    ["SSH-2.0-OpenSSH_9.2\r\n", /^the answer is not HTTP$/],
    [`HTTP/1.1 200 OK\r\nx: ${"x".repeat(20_000)}\r\n\r\n`, /^more than 16384 bytes of headers$/],
  ])("fails with the answer %.20j, and closes the connection", async (answer, why) => {
    expect(await probe(await raw(answer), HTTP)).toMatch(why);
    await Promise.all([...sockets].map((it) => it.closed || once(it, "close")));
  });

  it("fails when the connection ends in the middle of an answer", async () => {
    const to = await listen(
      createServer((socket) =>
        socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
      ),
    );
    expect(await probe(to, HTTP)).toMatch(/./);
    expect(await probe(await closed(), HTTP)).toBe("connection refused");
  });
});

it.each([
  ["a silent server", HTTP, () => listen(createServer())],
  ["a body that does not end", HTTP, () => http((_, response) => void response.write("a"))],
])("the signal ends the probe of %s", async (_, check, open) => {
  const ending = new AbortController();
  const probing = probe(await open(), check, ending.signal);
  setTimeout(() => ending.abort(), 50);
  expect(await probing).toBeTypeOf("string");
  expect(await probe(await open(), check, AbortSignal.abort())).toBeTypeOf("string");
});
