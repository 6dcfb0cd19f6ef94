import { readFileSync, statSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { parsePrefix } from "../../src/address.js";
import { derivePsk } from "../../src/identity/secret.js";
import { POLICY } from "../../src/policy/kind.js";
import { WsTransport } from "../../src/session/transport-ws.js";
import { FileStore, STATE_FILE } from "../../src/state/store-file.js";
import { systemClock } from "../../src/time/system-clock.js";
import { freePort, type Node, node, SECRET, sees, stopAll, until } from "../mesh/nodes.js";

afterEach(stopAll);

/** The TLS options of a member. */
const withSecret = (port: number): Socket => {
  const { identity, key } = derivePsk(SECRET);
  return connectTls({
    host: "127.0.0.1",
    port,
    minVersion: "TLSv1.3",
    ciphers: "TLS_AES_128_GCM_SHA256:PSK",
    pskCallback: () => ({ identity, psk: key }),
    checkServerIdentity: () => undefined,
  });
};

const lease = ({ mesh }: Node) => mesh.self().leases;

async function three() {
  const a = await node("a");
  const b = await node("b", { joins: [a] });
  const c = await node("c", { joins: [b] });
  await until(() => sees(a, "b", "c") && sees(b, "a", "c") && sees(c, "a", "b"));
  await until(() => [a, b, c].every(({ mesh }) => mesh.knowsDocument(POLICY)));
  return { a, b, c };
}

describe("three nodes on loopback, the last joins through the second", () => {
  it("all see all, each with its own lease, and nobody has a problem", async () => {
    const { a, b, c } = await three();
    expect(lease(a)).toEqual(["10.244.1.0/24"]);
    expect(new Set([a, b, c].flatMap(lease)).size).toBe(3);
    expect([a, b, c].flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    const seen = c.mesh.members().find(({ name }) => name === "a")!;
    expect(seen.mac).toBe(a.mesh.self().mac);
    expect(seen.endpoint).toBe(`127.0.0.1:${a.port}`);
    expect(seen.leases.map(({ subnet }) => subnet)).toEqual(["10.244.1.0/24"]);
    await until(() => c.mesh.members().every(({ rttMs }) => rttMs !== undefined));
    expect(statSync(`${a.state}/${STATE_FILE}`).mode & 0o777).toBe(0o600);
  });

  it("a node that stops is dropped; it comes back with the same lease, the founder too", async () => {
    const { a, b, c } = await three();
    const nodes = { a, b, c };
    for (const name of ["b", "a"] as const) {
      const gone = nodes[name];
      const rest = Object.values(nodes).filter((other) => other !== gone);
      const before = gone.mesh.self();
      await gone.mesh.stop();
      await until(() => rest.every(({ mesh }) => mesh.members().length === 1));
      const back = await node(name, { again: gone });
      nodes[name] = back;
      await until(() => sees(back, ...rest.map(({ mesh }) => mesh.self().name)));
      expect(back.mesh.self()).toMatchObject({ id: before.id, leases: before.leases });
      await until(() => rest.every(({ mesh }) => mesh.members().length === 2));
    }
    const late = await node("d", { joins: [c] });
    await until(() => lease(late).length > 0);
    expect([a, b, c].flatMap(lease)).not.toContain(lease(late)[0]);
  });

  it("a node that stops as soon as it knows the others has them on disk", async () => {
    const a = await node("a");
    const b = await node("b", { joins: [a] });
    await until(() => sees(b, "a"));
    const c = await node("c", { joins: [a] });
    const knows = () => c.mesh.members().length === 2 && lease(c).length > 0;
    await new Promise<void>((resolve) => {
      c.mesh.on("change", function stop() {
        if (!knows()) return;
        c.mesh.off("change", stop);
        resolve(c.mesh.stop());
      });
    });
    const { remembered } = new FileStore(c.state).load()!;
    expect(remembered.toSorted()).toEqual([a, b].map(({ port }) => `127.0.0.1:${port}`).toSorted());
  });
});

describe("a wrong secret", () => {
  it("is refused in the handshake, said on both sides, and nothing is learned", async () => {
    const a = await node("a");
    const stranger = await node("b", { joins: [a], secrets: ["another secret, as long"] });
    await until(() =>
      a.said.some((line) => /warn refused 127\.0\.0\.1: the secret does not match/.test(line)),
    );
    await until(() =>
      stranger.said.some((line) => /warn no session with .*: the secret does not match/.test(line)),
    );
    expect(stranger.mesh.problems().join()).toMatch(/the secret does not match/);
    expect(stranger.mesh.self()).toMatchObject({ leases: [], network: [] });
    expect(stranger.mesh.members()).toEqual([]);
    expect(a.mesh.members()).toEqual([]);
    const saved = readFileSync(`${stranger.state}/${STATE_FILE}`, "utf8");
    expect(saved).not.toMatch(a.mesh.self().id);
    expect([...a.said, ...stranger.said].join()).not.toContain(SECRET);
  });

  it("is said once, not with every attempt", async () => {
    const a = await node("a");
    const stranger = await node("b", { joins: [a], secrets: ["another secret, as long"] });
    await until(() => stranger.said.some((line) => line.includes("secret")));
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(stranger.said.filter((line) => line.includes("secret"))).toHaveLength(1);
    expect(a.said.filter((line) => line.includes("secret"))).toHaveLength(1);
  });

  it("may be the old one while a node accepts both", async () => {
    const a = await node("a", { secrets: ["the new secret of all", SECRET] });
    const b = await node("b", { joins: [a] });
    await until(() => sees(b, "a"));
  });
});

describe("a new secret", () => {
  it("replaces the old one node by node; a node with only the old one is shut out", async () => {
    const NEW = "the new secret of all";
    let nodes = [await node("a")];
    nodes.push(await node("b", { joins: [nodes[0]!] }), await node("c", { joins: [nodes[0]!] }));
    const allSeeAll = () =>
      nodes.every((one) => sees(one, ...["a", "b", "c"].filter((n) => n !== one.mesh.self().name)));
    await until(allSeeAll);
    const before = nodes.map(lease);
    // After each step every node can still open sessions with the nodes before and after it.
    for (const secrets of [[SECRET, NEW], [NEW, SECRET], [NEW]]) {
      for (const [i, old] of [...nodes].entries()) {
        await old.mesh.stop();
        const name = old.mesh.self().name;
        nodes = nodes.with(i, await node(name, { again: old, network: undefined, secrets }));
        await until(allSeeAll);
      }
    }
    expect(nodes.map(lease)).toEqual(before);
    expect(nodes.flatMap(({ said }) => said).filter((line) => line.includes("secret"))).toEqual([]);

    const lost = await node("d", { joins: [nodes[0]!] });
    await until(() => lost.mesh.problems().join().includes("the secret does not match"));
    expect(lost.mesh.members()).toEqual([]);
  });

  it("can be taken up while the nodes run: sessions of the old one end with it", async () => {
    const NEW = "the new secret of all";
    const { a, b, c } = await three();
    const lost = await node("lost", { joins: [a] });
    const all = () =>
      sees(a, "b", "c", "lost") && sees(b, "a", "c", "lost") && sees(c, "a", "b", "lost");
    await until(all);
    for (const secrets of [[SECRET, NEW], [NEW, SECRET], [NEW]]) {
      for (const { transport } of [a, b, c]) transport.setSecrets(secrets);
    }
    await until(() => lost.mesh.problems().join().includes("the secret does not match"));
    const hasSession = (one: Node, id: string) =>
      one.mesh.members().some((member) => member.id === id && member.state === "established");
    const rest = [a, b, c];
    await until(() =>
      rest.every((one) =>
        rest.every((other) => other === one || hasSession(one, other.mesh.self().id)),
      ),
    );
    await until(() => rest.every((one) => !hasSession(one, lost.mesh.self().id)));
    expect([a, b, c, lost].flatMap(({ said }) => said).join()).not.toContain(NEW);
  });

  it("must be one: nothing changes when none is given", async () => {
    const a = await node("a");
    expect(() => a.transport.setSecrets([])).toThrow(/no cluster secret/);
    const b = await node("b", { joins: [a] });
    await until(() => sees(b, "a"));
  });
});

describe("a changed underlay address", () => {
  it("is taken up without a restart, by this node and by all others", async () => {
    const { a, b, c } = await three();
    const before = b.mesh.self();
    await b.mesh.setEndpoint(`127.0.0.2:${b.port}`);
    const there = `127.0.0.2:${b.port}`;
    const seen = ({ mesh }: Node) => mesh.members().find(({ name }) => name === "b");
    await until(() => [a, c].every((one) => seen(one)?.endpoint === there));
    await until(() => sees(a, "b", "c") && sees(b, "a", "c") && sees(c, "a", "b"));
    expect(seen(a)!.meshEndpoint).toBe(there);
    expect(b.mesh.self()).toMatchObject({ id: before.id, leases: before.leases });
    const late = await node("d", {
      join: [{ host: "127.0.0.2", port: b.port }],
      network: undefined,
    });
    await until(() => lease(late).length > 0);
    await expect(b.mesh.setEndpoint(`192.0.2.77:${b.port}`)).rejects.toMatchObject({
      code: "MESH_LISTEN",
    });
    expect(seen(a)!.endpoint).toBe(there);
  });
});

describe("over IPv6", () => {
  const here = { address: "::1" } as const;

  it("all see all, by addresses in brackets, and nobody has a problem", async () => {
    const a = await node("a", { ...here, network: ["fd00:244::/48"].map(parsePrefix) });
    const b = await node("b", { ...here, joins: [a] });
    const c = await node("c", { ...here, joins: [b] });
    await until(() => sees(a, "b", "c") && sees(b, "a", "c") && sees(c, "a", "b"));
    await until(() => [a, b, c].every(({ mesh }) => mesh.knowsDocument(POLICY)));
    expect([a, b, c].flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    expect(lease(a)).toEqual(["fd00:244:0:1::/64"]);
    expect(new Set([a, b, c].flatMap(lease)).size).toBe(3);
    expect(c.mesh.members().find(({ name }) => name === "a")).toMatchObject({
      endpoint: `[::1]:${a.port}`,
      meshEndpoint: `[::1]:${a.port}`,
    });
  });

  it("a taken port, a wrong secret and a dead address are said with the address", async () => {
    const a = await node("a", here);
    await expect(node("b", { listen: { address: "::1", port: a.port } })).rejects.toMatchObject({
      message: `the mesh port [::1]:${a.port} is in use`,
    });

    const secrets = ["another secret, as long"];
    const stranger = await node("b", { ...here, joins: [a], secrets });
    await until(() => a.said.some((line) => line.startsWith("warn refused ::1: the secret")));
    await until(() =>
      stranger.mesh.problems().join().includes(`join address [::1]:${a.port}: the`),
    );

    const lost = await node("c", { ...here, join: [{ host: "::1", port: 1 }] });
    const dead = "join address [::1]:1: nothing listens there: check that weft runs at [::1]:1";
    await until(() => lost.mesh.problems().some((problem) => problem.startsWith(dead)));
  });
});

describe("what answers at a join address may be", () => {
  const failureAt = (port: number) =>
    new Promise<unknown>((resolve) => {
      const log = { info() {}, warn() {}, error() {} };
      const transport = new WsTransport({ clock: systemClock, log }, { secrets: [SECRET] });
      transport.dial(`127.0.0.1:${port}`, resolve);
    });

  it("nothing", async () => {
    expect(await failureAt(1)).toMatchObject({ code: "UNREACHABLE" });
  });

  it("a program that is no TLS server", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).end("SSH-2.0\r\n"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const result = await failureAt((server.address() as { port: number }).port);
    expect(result).toMatchObject({ code: "NOT_A_NODE" });
    server.close();
  });

  it("a TLS server with a certificate", async () => {
    const server = createTlsServer({ key: KEY, cert: CERTIFICATE }, (socket) =>
      socket.on("error", () => {}),
    );
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const result = await failureAt((server.address() as { port: number }).port);
    expect(result).toMatchObject({ code: "NOT_A_NODE" });
    server.close();
  });

  it("a WebSocket server with a certificate, where the environment has Node accept any", async () => {
    const server = createHttpsServer({ key: KEY, cert: CERTIFICATE });
    server.on("tlsClientError", () => {});
    const opened: unknown[] = [];
    new WebSocketServer({ server }).on("connection", (socket) => opened.push(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    onTestFinished(() => {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    });
    const result = await failureAt((server.address() as { port: number }).port);
    expect(result).toMatchObject({ code: "NOT_A_NODE" });
    expect(opened).toEqual([]);
    server.close();
  });

  it("this node itself, which is noticed and harms nothing", async () => {
    const a = await node("a");
    const port = await freePort();
    const both = [port, a.port].map((port) => ({ host: "127.0.0.1", port }));
    const b = await node("b", { join: both, port, network: undefined });
    await until(() => sees(b, "a") && lease(b).length > 0);
    await until(() => b.mesh.problems().length === 0);
  });

  it("only this node itself, which is said", async () => {
    const port = await freePort();
    const alone = await node("a", { join: [{ host: "127.0.0.1", port }], port });
    await until(() => alone.mesh.problems().join().includes("the address is this node's own"));
  });
});

describe("a start that cannot work", () => {
  it("says that the mesh port is in use", async () => {
    const a = await node("a");
    await expect(
      node("b", { listen: { address: "127.0.0.1", port: a.port } }),
    ).rejects.toMatchObject({
      code: "MESH_PORT",
      message: expect.stringContaining("in use"),
    });
  });

  it("says that the state belongs to another network", async () => {
    const a = await node("a");
    await a.mesh.stop();
    await expect(
      node("a", { again: a, network: [parsePrefix("10.9.0.0/16")] }),
    ).rejects.toMatchObject({
      code: "OTHER_NETWORK",
    });
    await expect(node("a", { again: a, leaseLength: 25 })).rejects.toMatchObject({
      code: "OTHER_NETWORK",
    });
  });

  it("says that the lease length does not fit the network", async () => {
    await expect(node("a", { leaseLength: 15 })).rejects.toMatchObject({ code: "NETWORK" });
    await expect(node("a", { leaseLength: 33 })).rejects.toMatchObject({ code: "NETWORK" });
  });
});

describe("a joiner that cannot be given a lease", () => {
  it("is told that the network is full, and both sides say so", async () => {
    const a = await node("a", { network: [parsePrefix("10.7.0.0/24")], leaseLength: 25 });
    const b = await node("b", { joins: [a] });
    await until(() => lease(b).length > 0);
    expect([lease(a), lease(b)]).toEqual([["10.7.0.128/25"], ["10.7.0.0/25"]]);
    const c = await node("c", { joins: [b] });
    await until(() =>
      c.mesh.problems().some((line) => line.includes("no node that was asked has free space")),
    );
    expect(b.said.join("\n")).toMatch(/refused a lease to c .*: no node .* has free space/);
    expect(lease(c)).toEqual([]);
  });

  it("is told that another identity has its name", async () => {
    const a = await node("a");
    const twin = await node("a", { joins: [a] });
    await until(() =>
      twin.mesh.problems().some((line) => line.includes("the name a belongs to another identity")),
    );
    expect(a.said.join("\n")).toMatch(/refused a lease to a .*belongs to another identity/);
  });

  it("is told that its network is not the cluster's, and so is the other end", async () => {
    const a = await node("a");
    const b = await node("b", { joins: [a], network: [parsePrefix("10.9.0.0/16")] });
    await until(() =>
      b.mesh.problems().some((line) => line.includes("this node was started with 10.9.0.0/16")),
    );
    await until(() =>
      a.said.some((line) => line.includes("this node was started with 10.9.0.0/16")),
    );
    expect(b.mesh.self().leases).toEqual([]);
  });
});

describe("two clusters", () => {
  it("that meet are not merged; both say why", async () => {
    const a = await node("a");
    const other = await node("z", { network: [parsePrefix("10.9.0.0/16")] });
    await other.mesh.stop();
    const z = await node("z", {
      again: other,
      join: [{ host: "127.0.0.1", port: a.port }],
      network: undefined,
    });
    await until(() => z.mesh.problems().some((line) => line.includes("two clusters meet")));
    await until(() => a.said.some((line) => line.includes("two clusters meet")));
    expect(a.mesh.members()).toEqual([]);
    expect(z.mesh.members()).toEqual([]);
  });
});

describe("the mesh port", () => {
  it("drops a peer that sends a frame over the limit, or a binary one, and goes on", async () => {
    const a = await node("a");
    for (const send of [
      (s: WebSocket) => s.send("x".repeat(1 << 20)),
      (s: WebSocket) => s.send(Buffer.alloc(8)),
    ]) {
      const createConnection = () => withSecret(a.port);
      const socket = new WebSocket(`wss://127.0.0.1:${a.port}`, { createConnection });
      socket.on("error", () => {});
      socket.on("open", () => send(socket));
      await new Promise((resolve) => socket.on("close", resolve));
    }
    const b = await node("b", { joins: [a] });
    await until(() => sees(b, "a"));
  });

  it("closes a connection that sends nothing, nothing after the TLS handshake, or only part of its request", async () => {
    const { port } = await node("a");
    const begins = withSecret(port);
    begins.write("GET / HTTP/1.1\r\nHost: ");
    const callers = [connect(port, "127.0.0.1"), withSecret(port), begins];
    for (const caller of callers) caller.on("error", () => {}).resume();
    await Promise.all(callers.map((one) => new Promise((resolve) => one.on("close", resolve))));
  });

  it("closes although a handshake was begun and not continued", async () => {
    const a = await node("a");
    const caller = connect(a.port, "127.0.0.1");
    caller.on("error", () => {});
    await new Promise((resolve) => caller.on("connect", resolve));
    const closed = new Promise((resolve) => caller.on("close", resolve));
    await a.mesh.stop();
    await closed;
  });

  it("sends nothing to a peer without TLS, and goes on", async () => {
    const a = await node("a");
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(a.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"));
      let text = "";
      socket.on("data", (data) => {
        text += data.toString("latin1");
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve(text));
    });
    expect(answer).not.toMatch(/weft|10\.244|HTTP/);
    const b = await node("b", { joins: [a] });
    await until(() => sees(b, "a"));
  });
});

/** A self-signed certificate for 127.0.0.1, valid for a hundred years and used only here. */
const KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINc+MRg/DXTxCwTsE8imNf90luM00/IVq991KLecVM1J
-----END PRIVATE KEY-----`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBUDCCAQKgAwIBAgIULaon3VyFxTufncS93qC/+9AuDigwBQYDK2VwMBQxEjAQ
BgNVBAMMCWxvY2FsaG9zdDAgFw0yNjExMjAyMjQ3MDdaGA8yMTI2MTAyNzIyNDcw
N1owFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEASMRGSs+5E23sjo6B
MWVsawIEmL2RyvRv2AnsgjUMP0SjZDBiMB0GA1UdDgQWBBSU83WTNfNYafkI9sO2
rsHbUNetDTAfBgNVHSMEGDAWgBSU83WTNfNYafkI9sO2rsHbUNetDTAPBgNVHRMB
Af8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwBQYDK2VwA0EAABFjb15MJZUFY+xU
q3+V112jbFwqiUjAlyB7SEdxJrRv2sipi1XYihscdFDR02CWOwmmY+p8pcrVksmS
a6SWDw==
-----END CERTIFICATE-----`;
