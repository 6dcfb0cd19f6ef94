/** The translation document, applied on one host, is in force on another, also after a restart. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { PeerRow } from "../../src/http/view.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { ServiceRow } from "../../src/nat/service-rows.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const DOCUMENT = `services:
  - { name: web, protocol: tcp, address: 10.96.0.10, port: 80, backends: [10.244.0.5:8080] }
ports:
  - { protocol: tcp, address: "node:gone", port: 80, to: 10.244.0.5:8080 }
`;

/** A check resets its connection. */
const SERVER = `require("node:net")
  .createServer((peer) => peer.on("error", () => {}).end("hello"))
  .listen(8080, () => console.log("listens"));`;

/** In the cluster network, in no node's lease. */
const SERVICE = "10.244.200.10";

/** Prints what the service says, or why it says nothing. */
const CLIENT = `
const peer = require("node:net").connect({ host: process.argv[1], port: 80 });
const end = (text) => { console.log(text); process.exit(); };
peer.on("data", (data) => end(String(data))).on("error", ({ code }) => end(code));
setTimeout(() => end("silence"), 5_000);`;

story("the cluster's translation document", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
  });
  afterAll(() => lab?.close());

  function fileOf(text: string): string {
    const file = join(lab.folder, "nat.yaml");
    writeFileSync(file, text);
    return file;
  }
  const pings = async () => (await ping(a!.host, b!.status.address, { count: 2 })).rttMs.length;

  it("is none at first, and packets pass", async () => {
    const { code, stderr } = await b!.agent.weft("nat", "get");
    expect([code, stderr.split("\n")[0]]).toEqual([
      1,
      "weft: the cluster has no translation document: nothing is translated",
    ]);
    expect(await pings()).toBe(2);
  });

  it("that has a mistake is refused with its line, and changes nothing", async () => {
    const { code, stderr } = await a!.agent.weft("nat", "apply", fileOf(`${DOCUMENT}snat: 1\n`));
    expect(code).toBe(2);
    expect(stderr).toMatch(/nat\.yaml:5: snat: this is not a list\n/);
    expect((await a!.agent.weft("nat", "get")).code).toBe(1);
  });

  it("comes into force on every node, with what is unknown named", async () => {
    const { code, stdout, stderr } = await a!.agent.weft(
      "nat",
      "apply",
      fileOf(DOCUMENT),
      "--wait",
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(
      /^version 1 \([0-9a-f]{16}\) is the newest translation document: services 1, ports 1\nin force on 2 of 2 known nodes\n$/,
    );
    expect(stderr).toContain("no node has seen these nodes yet: gone\n");
    expect((await b!.agent.weft("nat", "diff", fileOf(DOCUMENT))).code).toBe(0);
    const { stdout: got } = await b!.agent.weft("nat", "get");
    expect(got).toMatch(/^# version 1, applied on a\n# in force on 2 of 2 known nodes\n/);
    const peers = await b!.agent.get<PeerRow[]>("/v1/peers");
    expect(peers![0]!.documents).toMatchObject([
      { kind: "policy", version: 0 },
      { kind: "nat", version: 1 },
    ]);
    expect(await pings()).toBe(2);
  });

  it("gives clients of one host a backend on the other, unless its check fails", async () => {
    const address = b!.status.address;
    const states = async () => {
      const { stdout } = await a!.agent.weft("services", "-o", "json");
      return (JSON.parse(stdout) as ServiceRow[]).flatMap(({ backends }) =>
        backends.map(({ node, state }) => `${node} ${state}`),
      );
    };
    const until = async (state: string) => {
      for (let left = 100; left > 0; left--) {
        const now = await states();
        if (now.join() === state) return;
        await sleep(100);
      }
      expect(await states()).toEqual([state]);
    };
    const text = `services:
  - { name: web, protocol: tcp, address: ${SERVICE}, port: 80, backends: ["${address}:8080"],
      check: { tcp: true, interval: 1s } }
`;
    const answered = () =>
      a!.host.exec([process.execPath, "-e", CLIENT, SERVICE]).then((output) => output.trim());
    const server = b!.host.spawn([process.execPath, "-e", SERVER]);
    await server.waitForOutput("listens");
    await a!.agent.weft("nat", "apply", fileOf(text), "--wait");
    await until("b active");
    expect(await answered()).toBe("hello");
    server.kill();
    await until("b down");
    expect(await answered()).toBe("EHOSTUNREACH");
    await b!.host.spawn([process.execPath, "-e", SERVER]).waitForOutput("listens");
    await until("b active");
    expect(await answered()).toBe("hello");
  });

  it("is still in force after a restart, and replaced by a newer one", async () => {
    await b!.agent.kill();
    const again = lab.agent(b!.host, { join: [a!.host] });
    await again.waitHealthy({ peers: 1 });
    expect((await again.weft("nat", "get")).stdout).toMatch(/^# version 2, applied on a\n/);
    const apply = await again.weft("nat", "apply", fileOf("{}"), "--wait");
    expect(apply.stdout).toContain("is the newest translation document: it translates nothing\n");
    expect((await a!.agent.weft("nat", "get")).stdout).toMatch(/^# version 3, applied on b\n/);
    expect(await pings()).toBe(2);
  });
});
