/** The control socket and the verbs that read it, both real. */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseEndpoint } from "../../src/address.js";
import { ANSWERABLE, reasonNames } from "../../src/core/reasons.js";
import { ask } from "../../src/http/client.js";
import { MAX_RULE_SAMPLES } from "../../src/http/metrics.js";
import { ControlServer } from "../../src/http/server.js";
import { COUNTERS, folder, serve, view, weft } from "./weft.js";

const HTTP_PORT = 20_000 + (process.pid % 10_000);

interface Reply {
  status: number;
  type: string | undefined;
  body: string;
}

const call = (
  where: { socketPath: string } | { host: string; port: number },
  path: string,
  { method = "GET", headers = {} } = {},
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = request({ ...where, path, method, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text) => {
        body += text;
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers["content-type"],
          body,
        }),
      );
    });
    sent.on("error", reject).end();
  });

describe("the control socket", () => {
  it("answers every reading with its JSON", async () => {
    const socketPath = await serve();
    const agent = view();
    for (const name of ["status", "peers", "routes", "leases", "counters"] as const) {
      const { status, type, body } = await call({ socketPath }, `/v1/${name}?x=1`);
      expect([status, type]).toEqual([200, "application/json"]);
      expect(JSON.parse(body)).toEqual(agent[name]());
    }
  });

  it("is open to its owner and group only", async () => {
    expect(statSync(await serve()).mode & 0o777).toBe(0o660);
  });

  it.each([
    ["GET", "/", 404],
    ["GET", "/v1/status/", 404],
    ["GET", "/v1/__proto__", 404],
    ["POST", "/v1/status", 405],
    ["DELETE", "/metrics", 405],
    ["GET", "/v1/forget?name=h2&force=true", 405],
    ["POST", "/v1/forget?name=h2", 409],
    ["POST", "/v1/explain", 409],
    ["GET", "/v1/explain", 405],
    ["PUT", "/v1/policy", 405],
    ["GET", "/v1/flows?src=10.244.1.0/33", 409],
    ["GET", "/v1/capture", 409],
    ["POST", "/v1/capture", 405],
  ])("%s %s is %i, in JSON", async (method, path, status) => {
    const reply = await call({ socketPath: await serve() }, path, { method });
    expect(reply.status).toBe(status);
    expect(JSON.parse(reply.body)).toMatchObject({ error: expect.any(String) });
  });

  it.each([
    { origin: "https://example.org" },
    { origin: "null" },
    { host: "example.org" },
    { host: "127.0.0.1.example.org" },
    { host: "localhost@example.org" },
  ])("refuses what a web page could send: %j", async (headers) => {
    const { status, body } = await call({ socketPath: await serve() }, "/v1/status", { headers });
    expect(status).toBe(403);
    expect(body).not.toContain("10.244");
  });

  it("outlives a reading that breaks", async () => {
    const broken = {
      ...view(),
      peers: () => {
        throw new Error("no peers today");
      },
    };
    const socketPath = await serve(broken);
    expect((await call({ socketPath }, "/v1/peers")).status).toBe(500);
    expect((await call({ socketPath }, "/v1/status")).status).toBe(200);
  });

  it("shows the counters to Prometheus", async () => {
    const { type, body } = await call({ socketPath: await serve() }, "/metrics");
    expect(type).toContain("version=0.0.4");
    expect(body).toContain('weft_packets_received_total{direction="out"} 107\n');
    expect(body).toContain("weft_policy_version 3\n");
    expect(body).toContain('weft_policy_nodes{in_force="true"} 2\n');
    expect(body).toContain("weft_nat_version 2\n");
    expect(body).toContain('weft_nat_nodes{in_force="true"} 2\n');
    expect(body).toContain('weft_policy_nodes{in_force="false"} 0\n');
    expect(body).toContain(
      'weft_service_backend_up{service="web",backend="10.244.7.80:8080"} 1\nweft_service_backend_up{service="web",backend="192.0.2.80:8080"} 0\n',
    );
    expect(body).toContain("weft_packets_relayed_total 30\n");
    expect(body).toContain("weft_control_received_total 12\n");
    expect(body).toContain('weft_control_dropped_total{sender="unknown"} 0\n');
    expect(body).toContain('weft_packets_dropped_total{direction="in",reason="wrong-vni"} 1\n');
    expect(body).toContain(
      'weft_packets_answered_by_reason_total{direction="out",reason="no-route"} 2\n',
    );
    const allow =
      'direction="ingress",tier="default",policy="web",index="0",action="allow",shadow="false"';
    const end = 'direction="ingress",tier="default",action="deny",shadow="false"';
    expect(body).toContain('weft_mesh_connections_refused_total{reason="rate"} 900\n');
    expect(body).toContain("weft_rules 2\n");
    expect(body).toContain(
      `weft_rule_packets_total{${allow}} 12\nweft_rule_packets_total{${end}} 3\n`,
    );
    expect(body).toContain(
      `weft_rule_bytes_total{${allow}} 840\nweft_rule_bytes_total{${end}} 180\n`,
    );
    for (const line of body.trimEnd().split("\n")) {
      expect(line).toMatch(
        /^(# HELP \w+ [A-Z0-9].*\.|# TYPE \w+ (counter|gauge)|\w+(\{(\w+="[^"]*",?)+\})? \d+)$/,
      );
    }
  });

  it("shows Prometheus each reason of an answer or a drop before its first packet", async () => {
    const { body } = await call({ socketPath: await serve() }, "/metrics");
    const series = (name: string, direction: string) =>
      [
        ...body.matchAll(
          new RegExp(`^${name}{direction="${direction}",reason="(.+)"} \\d+$`, "gm"),
        ),
      ].map(([, reason]) => reason);
    for (const direction of ["out", "in"]) {
      expect(series("weft_packets_answered_by_reason_total", direction)).toEqual(ANSWERABLE);
      expect(series("weft_packets_dropped_total", direction)).toEqual(reasonNames.slice(1));
    }
    expect(body).toContain(
      'weft_packets_answered_by_reason_total{direction="in",reason="denied-ingress"} 0\n',
    );
    const families = (kind: string) =>
      [...body.matchAll(new RegExp(`^# ${kind} (\\w+)`, "gm"))].map(([, name]) => name);
    expect(families("HELP")).toEqual(families("TYPE"));
  });

  it("shows Prometheus the rules with packets, up to a maximum", async () => {
    const [rule] = COUNTERS.rules;
    const rules = Array.from({ length: 2 * MAX_RULE_SAMPLES }, (_, index) => {
      return { ...rule!, index, packets: index % 3 === 0 ? 0 : 7 };
    });
    const socketPath = await serve({ ...view(), counters: () => ({ ...COUNTERS, rules }) });
    const { body } = await call({ socketPath }, "/metrics");
    const shown = [...body.matchAll(/^weft_rule_packets_total\{.*index="(\d+)".* 7$/gm)];
    expect(shown.map(([, index]) => Number(index))).toEqual(
      rules.flatMap(({ index, packets }) => (packets > 0 ? index : [])).slice(0, MAX_RULE_SAMPLES),
    );
    expect(body).toContain(`weft_rules ${rules.length}\n`);
    expect(body).not.toMatch(/^weft_rule_\w+\{.* 0$/m);
  });

  it("is the same on the loopback address", async () => {
    await serve(view(), `127.0.0.1:${HTTP_PORT}`);
    const here = { host: "127.0.0.1", port: HTTP_PORT };
    expect((await call(here, "/v1/status")).status).toBe(200);
    expect((await call(here, "/v1/status", { headers: { host: "evil.example" } })).status).toBe(
      403,
    );
  });
});

describe("weft forget", () => {
  it("prints the subnets that were taken back", async () => {
    const { code, stdout } = await weft(["forget", "h2", "--force", "--socket", await serve()]);
    expect([code, stdout]).toEqual([0, "10.244.8.0/24\n"]);
  });

  it("gives the reason and the remedy", async () => {
    const { code, stdout, stderr } = await weft(["forget", "h2", "--socket", await serve()]);
    expect([code, stdout, stderr]).toEqual([1, "", "weft: h2 may only be cut off\n  wait\n"]);
  });

  it("works through the control socket alone, and from no web page", async () => {
    const socketPath = await serve(view(), `127.0.0.1:${HTTP_PORT}`);
    const path = "/v1/forget?name=h2&force=true";
    const post = { method: "POST" };
    expect((await call({ host: "127.0.0.1", port: HTTP_PORT }, path, post)).status).toBe(404);
    const headers = { origin: "https://example.org" };
    expect((await call({ socketPath }, path, { ...post, headers })).status).toBe(403);
    expect((await call({ socketPath }, path, post)).status).toBe(200);
  });
});

describe("what shows connections", () => {
  it.each(["/v1/policy", "/v1/nat", "/v1/services", "/v1/flows", "/v1/capture"])(
    "%s is not on the loopback address",
    async (path) => {
      const socketPath = await serve(view(), `127.0.0.1:${HTTP_PORT}`);
      expect((await call({ host: "127.0.0.1", port: HTTP_PORT }, path)).status).toBe(404);
      expect((await call({ socketPath }, path)).status).not.toBe(404);
    },
  );
});

describe("the place of the socket", () => {
  it("is empty again after a stop, its directory included", async () => {
    const root = folder();
    const server = new ControlServer(view(), { socket: join(root, "a/b/weft.sock") });
    await server.start();
    await server.stop();
    expect(existsSync(join(root, "a"))).toBe(false);
  });

  it("is taken over from an agent that was killed", async () => {
    const socket = join(folder(), "weft.sock");
    const left = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", left]);
    expect(statSync(socket).isSocket()).toBe(true);
    const server = new ControlServer(view(), { socket });
    await server.start();
    onTestFinished(() => server.stop());
    expect((await ask(socket, "status")).name).toBe("h1");
  });

  it("is made again where it, or its directory, was removed", async () => {
    const directory = join(folder(), "run");
    const socket = join(directory, "weft.sock");
    const server = new ControlServer(view(), { socket });
    await server.start();
    for (const path of [socket, directory, socket]) {
      rmSync(path, { recursive: true });
      expect(await server.keep()).toBe(true);
      expect((await ask(socket, "status")).name).toBe("h1");
      expect(statSync(socket).mode & 0o777).toBe(0o660);
    }
    const { ino } = statSync(socket);
    expect(await server.keep()).toBe(false);
    expect(statSync(socket).ino).toBe(ino);
    await server.stop();
    expect(existsSync(directory)).toBe(false);
  });

  it("is not made in the place of another file, nor is that removed at the end", async () => {
    const socket = join(folder(), "weft.sock");
    const server = new ControlServer(view(), { socket });
    await server.start();
    rmSync(socket);
    writeFileSync(socket, "precious");
    await expect(server.keep()).rejects.toMatchObject({
      code: "SOCKET",
      message: `${socket} exists and is not a socket`,
      remedy: "remove it, or choose another path with --socket",
    });
    await server.stop();
    expect(readFileSync(socket, "utf8")).toBe("precious");
  });

  it("is left to an agent that answers", async () => {
    const socket = await serve();
    const second = new ControlServer(view(), { socket });
    await expect(second.start()).rejects.toMatchObject({
      code: "SOCKET",
      message: `another agent (pid ${process.pid}) listens on the control socket ${socket}`,
    });
    expect((await ask(socket, "status")).name).toBe("h1");
  });

  it("is not taken from a file that is something else", async () => {
    const path = join(folder(), "weft.sock");
    writeFileSync(path, "precious");
    await expect(new ControlServer(view(), { socket: path }).start()).rejects.toMatchObject({
      message: `${path} exists and is not a socket`,
    });
    expect(existsSync(path)).toBe(true);
  });

  it("is given back when the HTTP address is taken", async () => {
    const holder = createServer();
    await new Promise<void>((done) => holder.listen(HTTP_PORT, "127.0.0.1", done));
    onTestFinished(() => void holder.close());
    const root = folder();
    const http = parseEndpoint(`127.0.0.1:${HTTP_PORT}`);
    const server = new ControlServer(view(), { socket: join(root, "run/weft.sock"), http });
    await expect(server.start()).rejects.toMatchObject({
      message: `the HTTP address 127.0.0.1:${HTTP_PORT} is already in use`,
    });
    expect(existsSync(join(root, "run"))).toBe(false);
  });
});

describe("the verbs", () => {
  it("print aligned tables, in the order of names or of addresses", async () => {
    const socket = await serve();
    const printed = async (verb: string) => {
      const { code, stdout, stderr } = await weft([verb, "--socket", socket]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return stdout;
    };
    expect(await printed("peers")).toBe(
      `NAME      ENDPOINT         LEASES                        STATE        SINCE                 PATH    RTT ms  LOSS %   MTU  POLICY               NAT  MAC
evil?[2J  192.0.2.33:4789                                connecting   2030-01-01T00:00:00Z  via h2       -       -  1280  none (3: too-large)  -    02:00:00:00:00:03
h2        192.0.2.2:4789   10.244.8.0/24, 10.244.9.0/24  established  -                     direct     0.4      25  1450  3                    2    02:00:00:00:00:02
`,
    );
    expect(await printed("routes")).toBe(
      "PREFIX          PEER  VIA\n10.244.8.0/24   h2    192.0.2.2:4789\n10.244.10.0/24  h2    192.0.2.2:4789\n",
    );
    expect(
      await printed("leases"),
    ).toBe(`SUBNET         OWNER    STATE           SINCE                 EXPIRES
10.244.7.0/24  h1       self            -                     2030-01-01T00:00:00Z
10.244.9.0/24  flannel  left, reserved  2029-12-31T00:00:00Z  -
`);
    expect(await printed("counters")).toBe(`PACKETS                   OUT    IN
received                  107  1000
delivered                 100   999
  relayed                        30
answered                    2     0
  no-route                  2     0
dropped: no-route           5     0
dropped: wrong-vni          0     1
control                          12
control dropped: known            0
control dropped: unknown          0

MESH PORT REFUSED  CONNECTIONS
rate                       900
crowded                     30
late                         4

RULE                    ACTION  LINE  PACKETS  BYTES
web ingress 0           allow      4       12    840
end of default ingress  deny       -        3    180
`);
    expect(await printed("status")).toMatch(
      /^node {6}h1\nhealth {4}healthy\nnote {6}the path to h3 is narrow\nsees {6}packets from and to other nodes\naddress {3}10\.244\.7\.1, fd00:244:0:7::1\n(.*\n)*offloads {2}tso gso\n(.*\n)*policy {4}version 3 here; version 3 on 2 of 2 known nodes\n/,
    );
  });

  it("print the API's JSON with -o json", async () => {
    const { stdout } = await weft(["counters", "-o", "json", "--socket", await serve()]);
    expect(JSON.parse(stdout)).toEqual(COUNTERS);
  });

  it("status exits 1 when degraded, and says why", async () => {
    const { code, stdout } = await weft(["status", "--socket", await serve(view(false))]);
    expect(stdout).toContain("problem   no peer answers\n");
    expect(stdout).toContain("offloads  none\n");
    expect(code).toBe(1);
  });

  it.each(["status", "peers", "routes", "leases", "counters"])(
    "%s exits 3 when no agent answers",
    async (verb) => {
      const socket = join(folder(), "weft.sock");
      expect(await weft([verb, "--socket", socket])).toEqual({
        code: 3,
        stdout: "",
        stderr: `weft: no agent answers on ${socket}: there is no such socket\n  start one with: weft up, or name its socket with --socket\n`,
      });
    },
  );

  it.each([
    ["/etc/passwd", 3, "no agent answers on /etc/passwd: it is no socket"],
    ["/tmp", 3, "no agent answers on /tmp: it is no socket"],
    ["", 2, "--socket: the path is empty"],
    [`/${"a".repeat(107)}`, 2, "--socket: the path is longer than the 107 bytes"],
  ])("name what is wrong with --socket %s", async (socket, exit, said) => {
    const { code, stderr } = await weft(["status", "--socket", socket]);
    expect(stderr).toContain(said);
    expect(code).toBe(exit);
  });

  it("exit 1 when something else answers", async () => {
    const socket = join(folder(), "other.sock");
    const other = createServer((peer) =>
      peer.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    );
    await new Promise<void>((done) => other.listen(socket, done));
    onTestFinished(() => void other.close());
    const { code, stderr } = await weft(["status", "--socket", socket]);
    expect(stderr).toContain("does not respond as a weft agent");
    expect(code).toBe(1);
  });
});
