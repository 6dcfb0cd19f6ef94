/**
 * A service with a backend on each of three hosts and a client on a fourth, while a program and a host
 * fail.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { RunningProgram } from "../../src/lab/running.js";
import type { BackendRow, ServiceRow } from "../../src/nat/service-rows.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const [SERVICE, PORT, BACKEND_PORT] = ["10.96.0.10", 80, 8080];
/** Longer than a check's two intervals and its timeout, on a busy machine. */
const NOTICED_WITHIN = 30_000;
/** Requests after a failure is known. */
const REQUESTS = 60;

/** Answers the address that it sees, and its host's name; its check, with 200. */
const BACKEND = `
const [name, host] = process.argv.slice(1);
require("node:http").createServer((request, response) => {
  response.end(name + " " + request.socket.remoteAddress);
}).listen(${BACKEND_PORT}, host, () => console.log("listens"));`;

/** One request after the other, each with its own connection; a line with its begin and its result. */
const CLIENT = `
const ask = () => {
  const begun = Date.now();
  const done = (result) => {
    console.log(begun + " " + result);
    setTimeout(ask, 20);
  };
  const signal = AbortSignal.timeout(4000);
  const request = require("node:http").get({ host: "${SERVICE}", port: ${PORT}, agent: false, signal }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (data) => { text += data; }).on("end", () => done("ok " + text));
    response.on("error", ({ code }) => done(code));
  }).on("error", ({ code }) => done(code));
};
ask();`;

interface Request {
  readonly begun: number;
  readonly result: string;
}

story("a service whose backends are checked", () => {
  let lab: Lab;
  let [a, b, c, d]: Node[] = [];
  const programs = new Map<Node, RunningProgram>();
  let client: RunningProgram;

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b, c, d] = await cluster(lab, ["a", "b", "c", "d"]);
    for (const node of [a!, b!, c!]) await serve(node);
    const file = join(lab.folder, "nat.yaml");
    const backends = [a!, b!, c!].map(endpointOf);
    writeFileSync(
      file,
      `services:
  - name: web
    protocol: tcp
    address: ${SERVICE}
    port: ${PORT}
    backends: [${backends}]
    check: { http: /, interval: 2s, timeout: 2s }
`,
    );
    const { code, stderr } = await d!.agent.weft("nat", "apply", file, "--wait");
    expect(code, stderr).toBe(0);
    client = d!.host.spawn([process.execPath, "-e", CLIENT]);
  });
  afterAll(() => lab?.close());

  const endpointOf = ({ status }: Node) => `${status.address}:${BACKEND_PORT}`;

  async function serve(node: Node): Promise<void> {
    const { name, address } = node.status;
    const program = node.host.spawn([process.execPath, "-e", BACKEND, name, address]);
    programs.set(node, program);
    await program.waitForOutput("listens");
  }

  const requests = (): Request[] =>
    [...client.output.matchAll(/^(\d+) (.+)$/gm)].map(([, begun, result]) => ({
      begun: Number(begun),
      result: result!,
    }));
  const failures = () => requests().filter(({ result }) => !result.startsWith("ok ")).length;

  async function backend(node: Node): Promise<BackendRow | undefined> {
    const rows = await d!.agent.get<ServiceRow[]>("/v1/services");
    return rows?.[0]?.backends.find(({ to }) => to === endpointOf(node));
  }

  /** Waits until the client's host gives no new flows to that node. @returns when that is known */
  async function known(node: Node): Promise<number> {
    const isActive = async () => (await backend(node))?.state === "active";
    await expect.poll(isActive, { timeout: NOTICED_WITHIN, interval: 50 }).toBe(false);
    return Date.now();
  }

  /** The results of some requests that begin from now on, with the name of the node that answered. */
  async function next(since = Date.now()): Promise<string[]> {
    const begunSince = () => requests().filter(({ begun }) => begun >= since);
    await expect
      .poll(() => begunSince().length, { timeout: NOTICED_WITHIN })
      .toBeGreaterThan(REQUESTS);
    return begunSince().map(({ result }) => result);
  }

  const answers = (...nodes: Node[]) =>
    new Set(nodes.map(({ status }) => `ok ${status.name} ${d!.status.address}`));

  it("spreads requests over all three, which see the client's address", async () => {
    expect(new Set(await next())).toEqual(answers(a!, b!, c!));
  });

  it("avoids a backend whose program has ended, and comes back to it", async () => {
    programs.get(a!)!.kill("SIGKILL");
    const since = await known(a!);
    expect(new Set(await next(since))).toEqual(answers(b!, c!));
    expect(await backend(a!)).toMatchObject({ state: "down", why: "connection refused" });
    const { stdout } = await d!.agent.weft("services");
    expect(stdout).toMatch(/ a +1 +down .*T.*Z {2}connection refused$/m);
    expect(failures()).toBeGreaterThan(0);
    await serve(a!);
    await expect
      .poll(async () => (await backend(a!))?.state, { timeout: NOTICED_WITHIN })
      .toBe("active");
    expect(new Set(await next())).toEqual(answers(a!, b!, c!));
  });

  it("avoids a host that dies", async () => {
    const before = failures();
    await Promise.all([b!.agent.kill("SIGKILL"), b!.host.ip("link set eth0 down")]);
    const since = await known(b!);
    expect(new Set(await next(since))).toEqual(answers(a!, c!));
    expect(failures()).toBeGreaterThan(before);
    await expect
      .poll(async () => (await backend(b!))?.state, { timeout: NOTICED_WITHIN })
      .toBe("dead");
    expect(new Set(await next())).toEqual(answers(a!, c!));
  });
});
