/** Requests that would have the agent keep what they send, on the control socket and on `--http`. */
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { MAX_READING } from "../../src/http/bodies.js";
import { LOOPBACK_RATE, MAX_CONNECTIONS } from "../../src/http/server.js";
import { serve, view } from "./weft.js";

const MIB = 1024 * 1024;
const PORT = 10_000 + (process.pid % 10_000);
type Where = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** The two doors of an agent. */
async function agent(from = view()): Promise<{ unix: Where; http: Where }> {
  const socketPath = await serve(from, `127.0.0.1:${PORT}`);
  return { unix: { socketPath }, http: { host: "127.0.0.1", port: PORT } };
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** The status; 0 when the connection was reset before there was one. */
const ask = (where: Where, path: string, { method = "GET", headers = {}, body = "" }: Asked = {}) =>
  new Promise<number>((resolve) => {
    const call = request({
      ...where,
      path,
      method,
      agent: false,
      headers: { host: "localhost", ...headers },
    });
    call.on("error", () => resolve(0));
    call.on("response", (response) => {
      response.resume().on("error", () => {});
      resolve(response.statusCode ?? 0);
    });
    call.end(body);
  });

/** Says this, byte for byte, and gives what is answered until the other end closes. */
const raw = async (where: Where, text: string): Promise<string> => {
  const socket = open(where);
  socket.write(text);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
};
const open = (where: Where): Socket => {
  const socket =
    "socketPath" in where ? connect(where.socketPath) : connect(where.port, where.host);
  onTestFinished(() => void socket.destroy());
  return socket.on("error", () => {});
};

describe("an unexpected body", () => {
  it.each([
    ["GET", "/metrics", 413],
    ["GET", "/v1/status", 413],
    ["POST", "/metrics", 405],
    ["POST", "/v1/nothing", 404],
  ])(
    "%s %s is refused before it is read, by its length or in chunks",
    async (method, path, status) => {
      const doors = await agent();
      for (const where of [doors.unix, doors.http]) {
        for (const kind of ["content-length: 9000000", "transfer-encoding: chunked"]) {
          const answer = await raw(
            where,
            `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${kind}\r\n\r\n`,
          );
          expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
          expect(answer).toMatch(/^connection: close\r$/im);
        }
      }
    },
  );

  it("64 times 8 MiB cost no memory, and the metrics are there meanwhile", async () => {
    const { http } = await agent();
    const before = process.memoryUsage().rss;
    const body = Buffer.alloc(8 * MIB, "x");
    const posts = Array.from({ length: 64 }, (_, n) =>
      ask(http, "/metrics", {
        method: n % 2 ? "POST" : "GET",
        body,
        headers: { "content-length": `${body.length}` },
      }),
    );
    const from = performance.now();
    expect(await ask(http, "/metrics")).toBe(200);
    expect(performance.now() - from).toBeLessThan(2_000);
    for (const status of await Promise.all(posts)) expect([0, 405, 413]).toContain(status);
    expect((process.memoryUsage().rss - before) / MIB).toBeLessThan(100);
  });

  it("is not sent by a client that waits for 100 Continue", async () => {
    const { http, unix } = await agent();
    const head = (path: string) =>
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 7\r\n\r\n`;
    expect(await raw(http, head("/metrics"))).toMatch(/^HTTP\/1.1 405 /);
    const socket = open(unix);
    const said: string[] = [];
    socket.on("data", (data) => said.push(data.toString()));
    socket.write(head("/v1/policy"));
    await expect.poll(() => said.join()).toMatch(/^HTTP\/1.1 100 Continue/);
    socket.write("too-big");
    await expect.poll(() => said.join()).toMatch(/HTTP\/1.1 200 OK/);
  });
});

describe("a body that a path takes", () => {
  it("is as long as that path's, and no longer", async () => {
    const { unix } = await agent();
    const post = (path: string, length: number, chunked = false) =>
      ask(unix, path, {
        method: "POST",
        body: " ".repeat(length),
        ...(chunked && { headers: { "transfer-encoding": "chunked" } }),
      });
    expect(await post("/v1/policy", 8 * MIB)).toBe(200);
    expect(await post("/v1/policy", 8 * MIB, true)).toBe(200);
    expect(await post("/v1/explain", 64 * 1024)).toBe(409);
    expect(await post("/v1/explain", 64 * 1024 + 1)).toBe(413);
    expect([0, 413]).toContain(await post("/v1/explain", MIB, true));
    expect([0, 413]).toContain(await post("/v1/policy", 8 * MIB + 1));
    expect(await post("/v1/forget?name=h2&force=true", 1)).toBe(413);
    expect(await post("/v1/forget?name=h2&force=true", 0)).toBe(200);
  });

  it("waits for none that is sent slowly: of all together so much is held, of one for so long", async () => {
    const { unix } = await agent();
    const sockets = Array.from({ length: 40 }, () => open(unix));
    const said = sockets.map((socket) => {
      const all: string[] = [];
      socket.on("data", (data) => all.push(data.toString()));
      socket.write(
        "POST /v1/policy HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8000000\r\n\r\n",
      );
      socket.write(" ".repeat(MIB));
      return all;
    });
    const busy = () => said.filter((all) => /^HTTP\/1.1 503 /.test(all.join(""))).length;
    await expect.poll(busy).toBeGreaterThanOrEqual(40 - MAX_READING / MIB);
    await expect.poll(() => sockets.every(({ closed }) => closed), { timeout: 9_000 }).toBe(true);
    expect(await ask(unix, "/v1/policy", { method: "POST", body: "{}" })).toBe(200);
  });
});

describe("connections without end", () => {
  it("that are idle are closed for new ones, oldest first", async () => {
    const { http, unix } = await agent();
    for (const where of [http, unix]) {
      const idle = Array.from({ length: 3 * MAX_CONNECTIONS }, () => open(where));
      await expect.poll(() => idle.filter(({ closed }) => closed).length).toBe(2 * MAX_CONNECTIONS);
      expect(idle.slice(-MAX_CONNECTIONS).some(({ closed }) => closed)).toBe(false);
      expect(await ask(where, "/v1/status")).toBe(200);
    }
  });

  it("that say nothing, or half a request, end after 5 s", async () => {
    const { http } = await agent();
    const [silent, half] = [open(http), open(http)];
    half.write("GET /metrics HTTP/1.1\r\nhost: ");
    await sleep(3_000);
    expect([silent.closed, half.closed]).toEqual([false, false]);
    silent.resume();
    half.resume();
    await expect.poll(() => silent.closed && half.closed, { timeout: 10_000 }).toBe(true);
  });

  it("get 429 on the loopback address when there are too many", async () => {
    const { http, unix } = await agent();
    let answered = 0;
    while ((await ask(http, "/v1/status")) === 200) answered++;
    expect(answered).toBeGreaterThanOrEqual(LOOPBACK_RATE.burst);
    for (let n = 0; n < 2 * LOOPBACK_RATE.burst; n++)
      expect(await ask(unix, "/v1/status")).toBe(200);
  });

  it("serve several valid requests one after the other", async () => {
    const { http } = await agent();
    const get = "GET /v1/status HTTP/1.1\r\nhost: localhost\r\n";
    const answer = await raw(http, `${get}\r\n${get}connection: close\r\n\r\n`);
    expect(answer.match(/HTTP\/1.1 200 OK/g)).toHaveLength(2);
  });
});

it.each([
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site" },
  { origin: "https://example.org" },
  { host: "rebound.example" },
])("--http refuses what a web page sends: %j", async (headers: Record<string, string>) => {
  const { http } = await agent();
  expect(await ask(http, "/metrics", { headers })).toBe(403);
  expect(await ask(http, "/metrics", { headers: { "sec-fetch-site": "none" } })).toBe(200);
});
