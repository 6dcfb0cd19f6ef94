import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import type { RunningProgram } from "../../src/lab/running.js";
import { traces } from "./cluster.js";
import { story } from "./story.js";

const UDP_HOLDER = `require("node:dgram").createSocket("udp4").bind(4789, () => console.log("bound"))`;
const WAIT = `console.log("waiting"); setTimeout(() => {}, 60_000)`;

story("an agent that cannot start says why and leaves nothing behind", () => {
  let lab: Lab;
  let host: Host;
  let number = 0;
  const beside: RunningProgram[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
  });
  beforeEach(async () => {
    host = await lab.host(`h${++number}`);
  });
  afterEach(async () => {
    for (const running of beside.splice(0)) await running.stop("SIGKILL");
  });
  afterAll(() => lab?.close());

  const runBeside = async (argv: readonly string[], ready: RegExp): Promise<RunningProgram> => {
    const running = host.spawn(argv);
    beside.push(running);
    await running.waitForOutput(ready);
    return running;
  };

  /** Starts an agent that must refuse, naming these; the host must then be as it was. */
  const refuses = async (start: () => LabAgent, ...words: RegExp[]): Promise<LabAgent> => {
    const before = await traces(host);
    const agent = start();
    const { code, stderr } = await agent.process.finish(15_000);
    for (const word of words) expect(stderr).toMatch(word);
    expect(code).toBeGreaterThan(0);
    expect(stderr).not.toMatch(/^\s+at /m); // a sentence, not a stack
    expect(await traces(host)).toBe(before);
    return agent;
  };

  it("when the VXLAN port is in use", async () => {
    await runBeside([process.execPath, "-e", UDP_HOLDER], /bound/);
    const { socket } = await refuses(() => lab.agent(host), /4789/);
    expect(existsSync(socket)).toBe(false);
  });

  it("when the mesh port is in use", async () => {
    await runBeside(["iperf3", "-s", "-p", "6783", "--forceflush"], /Server listening/);
    await refuses(() => lab.agent(host), /6783/);
  });

  it("when a device of that name exists", async () => {
    await host.ip("link add weft0 type bridge");
    await refuses(() => lab.agent(host), /weft0/);
  });

  it("when the node binary has the capability and the ip command does not get it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weft-setcap-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    const node = join(folder, "node");
    copyFileSync(process.execPath, node);
    // The second one opens the files of the lab, which are root's.
    await host.exec(["setcap", "cap_net_admin,cap_dac_override+ep", node]);
    // The agent's argv begins with the node binary of the test.
    const script = `shift; exec setpriv --reuid nobody --clear-groups --inh-caps=-all ${node} "$@"`;
    const inside = ["sh", "-c", script, "sh"];
    await refuses(
      () => lab.agent(host, { inside }),
      /CAP_NET_ADMIN, but the ip command/,
      /ambient/,
    );
  });

  it("when there is no /dev/net/tun", async () => {
    const { pid } = await runBeside(
      ["unshare", "--mount", process.execPath, "-e", WAIT],
      /waiting/,
    );
    const inside = ["nsenter", "--target", `${pid}`, "--mount", "--"];
    await host.exec([...inside, "mount", "-t", "tmpfs", "none", "/dev/net"]);
    await refuses(() => lab.agent(host, { inside }), /\/dev\/net\/tun/);
  });

  it("when another agent has the same state directory; that one goes on", async () => {
    const first = lab.agent(host);
    await first.waitHealthy();
    const elsewhere = ["--tun", "weft1", "--port", "4790", "--mesh-port", "6784"];
    const flags = [...elsewhere, "--socket", `${first.socket}.2`];
    await refuses(() => lab.agent(host, { flags }), /state/, new RegExp(`${first.process.pid}`));
    expect(existsSync(`${first.socket}.2`)).toBe(false);
    await first.waitHealthy();
    await first.kill();
  });

  it("when another agent answers on the same socket; that one goes on", async () => {
    const first = lab.agent(host);
    await first.waitHealthy();
    const elsewhere = ["--tun", "weft1", "--port", "4790", "--mesh-port", "6784"];
    const flags = [...elsewhere, "--state", `${first.state}.2`];
    await refuses(() => lab.agent(host, { flags }), new RegExp(first.socket));
    await first.waitHealthy();
    await first.kill();
  });

  it("when another agent has the device: the message names that one, and spares its device", async () => {
    const first = lab.agent(host);
    await first.waitHealthy();
    const flags = ["--state", `${first.state}.2`, "--socket", `${first.socket}.2`];
    const other = new RegExp(`another agent \\(pid ${first.process.pid}, ${host.name}\\).* weft0`);
    const { process } = await refuses(() => lab.agent(host, { flags }), other, /--tun/);
    expect(process.output).not.toContain("ip link delete");
    await first.waitHealthy();
    await first.kill();
  });
});
