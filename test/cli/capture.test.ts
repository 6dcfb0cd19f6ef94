/** `weft capture` in its own process, on a control socket whose packets a real core takes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type Capture, Dataplane } from "../../src/dataplane.js";
import { ControlServer } from "../../src/http/server.js";
import type { CapturedRow } from "../../src/http/view.js";
import { A, B, hostOf, MTU } from "../core/host.js";
import { optionOf, readPcapng } from "../io/pcapng.js";
import { ipv4, TCP, tcp, vxlan } from "../packets.js";
import { folder, serve, view, WEFT, weft } from "./weft.js";

const POLICY = {
  policies: [
    {
      name: "web",
      applies: [hostOf(A)],
      ingress: [{ action: "allow", protocol: "tcp", ports: [80] }],
    },
  ],
};

let dp: Dataplane;
let socket: string;
/** The last one that was begun. */
let capture: Capture;

beforeEach(async () => {
  const [address, underlay] = [hostOf(A), A.endpoint];
  dp = await Dataplane.create({ ...A, vni: 1, mtu: MTU, address, underlay });
  dp.setPeers([B]);
  dp.setPolicy(POLICY);
  socket = await serve({
    ...view(),
    capture: (options) => {
      capture = dp.capture(options);
      return capture;
    },
  });
});

class Command {
  stdout = Buffer.alloc(0);
  stderr = "";
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(...args: string[]) {
    const argv = [WEFT, "capture", ...args, "--socket", socket];
    this.child = spawn(process.execPath, argv, { env: { PATH: process.env.PATH, TZ: "UTC" } });
    this.child.stdout!.on("data", (bytes: Buffer) => {
      this.stdout = Buffer.concat([this.stdout, bytes]);
    });
    this.child.stderr!.on("data", (bytes: Buffer) => {
      this.stderr += bytes;
    });
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
    onTestFinished(() => void this.child.kill("SIGKILL"));
  }

  get lines(): string[] {
    return this.stdout.toString().split("\n").slice(0, -1);
  }

  async interrupt(): Promise<number | null> {
    this.child.kill("SIGINT");
    return this.ended;
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5);
}

async function capturing(...args: string[]): Promise<Command> {
  const command = new Command(...args);
  await until(() => command.stderr.includes("capturing"));
  return command;
}

const knock = (dport: number, bytes = 0): Uint8Array => {
  const [src, dst] = [hostOf(B), hostOf(A)];
  const segment = tcp(src, dst, new Uint8Array(bytes), { sport: 40_000, dport, flags: 2 });
  return ipv4({ src, dst, protocol: TCP, payload: segment });
};
const arrive = (dport: number) => dp.fromWire(vxlan(knock(dport)), B.endpoint);

const SENTENCES = [
  /^\d\d:\d\d:\d\d\.\d{6} in {2}b {2}tcp 10\.244\.2\.1:40000 > 10\.244\.1\.1:80, 40 bytes: delivered, web ingress 0: allow \(tier default, line \d+\)$/,
  /^\d\d:\d\d:\d\d\.\d{6} in {2}b {2}tcp 10\.244\.2\.1:40000 > 10\.244\.1\.1:22, 40 bytes: answered, denied-ingress, end of default ingress: deny \(tier default\)$/,
  /^\d\d:\d\d:\d\d\.\d{6} out - {2}tcp 10\.244\.1\.1:1000 > 10\.244\.9\.9:2000, 40 bytes: answered, no-route$/,
  /^\d\d:\d\d:\d\d\.\d{6} in {2}203\.0\.113\.9:4789 {2}tcp .*: dropped, unknown-peer$/,
];

describe("weft capture", () => {
  it("prints a line for each packet, and at Ctrl-C how many there were", async () => {
    const command = await capturing();
    arrive(80);
    arrive(22);
    const [src, dst] = [hostOf(A), "10.244.9.9"];
    dp.fromDevice(ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, new Uint8Array(0)) }));
    dp.fromWire(vxlan(knock(80)), "203.0.113.9:4789");
    await until(() => command.lines.length === 4);
    expect(await command.interrupt()).toBe(0);
    for (const [i, line] of command.lines.entries()) expect(line).toMatch(SENTENCES[i]!);
    expect(command.stderr).toMatch(/\nweft: 4 packets captured, 0 lost\n$/);
  });

  it("ends at Ctrl-C although its output is not read, and says that packets are lost", async () => {
    const command = await capturing("--output", "json");
    command.child.stdout!.pause();
    // More than the pipe and the buffers at its two ends hold.
    for (let i = 0; i < 2_000; i++) {
      arrive(22);
      if (i % 100 === 0) await sleep(5);
    }
    await sleep(500);
    command.child.kill("SIGINT");
    await once(command.child, "exit");
    expect(command.child.exitCode).toBe(1);
    expect(command.stderr).toContain("the reader of the output has stopped reading");
  });

  it("of the dropped, of one connection, ends by itself after some packets", async () => {
    const command = await capturing("--dropped", "--filter", "tcp 10.244.2.1 :22", "--count", "2");
    for (const port of [80, 22, 23, 80, 22, 22]) arrive(port);
    expect(await command.ended).toBe(0);
    expect(command.lines.map((line) => / > (\S+),/.exec(line)![1])).toEqual([
      "10.244.1.1:22",
      "10.244.1.1:22",
    ]);
  });

  it("ends by itself after some time", async () => {
    const command = new Command("--duration", "1");
    expect(await command.ended).toBe(0);
    expect(command.stderr).toMatch(/weft: 0 packets captured, 0 lost\n$/);
  });

  it("prints what the API says with -o json", async () => {
    const command = await capturing("-o", "json", "--snaplen", "20", "--count", "1");
    arrive(22);
    await command.ended;
    const row = JSON.parse(command.lines[0]!) as CapturedRow;
    expect(row).toMatchObject({
      direction: "in",
      peer: "b",
      sender: B.endpoint,
      verdict: "answered",
      reason: "denied-ingress",
      length: 40,
      bytes: Buffer.from(knock(22).subarray(0, 20)).toString("hex"),
    });
  });

  it.each(["file", "stdout"])("writes pcapng to a %s", async (where) => {
    const path = where === "file" ? join(folder(), "of-mine.pcapng") : "-";
    const command = await capturing("-w", path, "--snaplen", "30");
    arrive(80);
    arrive(22);
    await sleep(200);
    expect(await command.interrupt()).toBe(0);
    const file = readPcapng(where === "file" ? readFileSync(path) : command.stdout);
    if (where === "file") expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(file.interface).toEqual({ linkType: 101, snaplen: 30, name: "weft" });
    expect(file.statistics).toEqual({ received: 2n, dropped: 0n });
    expect(file.packets.map(({ length, bytes }) => [length, bytes])).toEqual([
      [40, knock(80).slice(0, 30)],
      [40, knock(22).slice(0, 30)],
    ]);
    expect(file.packets.map(({ options }) => optionOf(options, 1).toString())).toEqual([
      expect.stringMatching(/^in from b at 192\.0\.2\.2:4789: delivered, web ingress 0: allow \(/),
      "in from b at 192.0.2.2:4789: answered, denied-ingress, end of default ingress: deny (tier default), a policy of the node that receives denies it",
    ]);
    for (const { options } of file.packets) expect(optionOf(options, 2).readUInt32LE()).toBe(1);
  });

  it("ends when its output is closed", async () => {
    const command = await capturing();
    command.child.stdout!.destroy();
    const going = setInterval(() => arrive(80), 20);
    expect(await command.ended).toBe(0);
    clearInterval(going);
    expect(command.stderr).toMatch(/packets captured/);
  });
});

it("weft capture ends with its agent, and ends its file", async () => {
  socket = join(folder(), "weft.sock");
  const server = new ControlServer({ ...view(), capture: () => dp.capture() }, { socket });
  await server.start();
  const path = join(folder(), "of-mine.pcapng");
  const command = await capturing("-w", path);
  arrive(22);
  await until(() => statSync(path).size > 200);
  await server.stop();
  expect(await command.ended).toBe(3);
  expect(command.stderr).toContain("1 packets captured, 0 lost");
  expect(command.stderr).toContain("it ended, and the capture with it");
  expect(readPcapng(readFileSync(path)).packets).toHaveLength(1);
});

describe("a capture on the control socket", () => {
  const isFree = () => {
    try {
      dp.capture().stop();
      return true;
    } catch {
      return false;
    }
  };

  it("is the only one", async () => {
    await capturing();
    const { code, stdout, stderr } = await weft(["capture", "--socket", socket]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      "weft: another capture runs on this node already\n  there can be one capture at a time: end the other one first\n",
    );
  });

  it.each(["SIGINT", "SIGKILL"] as const)("ends with its reader: %s", async (signal) => {
    const command = await capturing();
    expect(isFree()).toBe(false);
    command.child.kill(signal);
    await command.ended;
    await until(isFree);
  });

  it("loses what a reader that stands still does not take, and counts it", async () => {
    const command = await capturing("-o", "json");
    command.child.kill("SIGSTOP");
    const given = 40_000;
    for (let i = 0; i < given; i++) {
      arrive(80);
      if (i % 500 === 0) await sleep(1);
    }
    const { lost } = capture;
    expect(lost).toBeGreaterThan(0);
    command.child.kill("SIGCONT");
    await until(() => command.lines.length === given - lost);
    await sleep(200);
    await command.interrupt();
    expect(command.stderr).toContain(`weft: ${given - lost} packets captured, ${lost} lost\n`);
  });

  it.each([
    [["--filter", "tcp 10.0.0.1:http"], '"http" is not a port', 2],
    [["--snaplen", "70000"], "70000 bytes of each packet cannot be", 2],
    [
      ["--count", "0"],
      "option '--count <N>' argument '0' is invalid. give a whole number from 1 on",
      2,
    ],
    [
      ["-w", "x", "-o", "json"],
      "option '-w, --write <FILE>' cannot be used with option '-o, --output <format>'",
      2,
    ],
    [["-w", "/nonexistent/file"], "the file cannot be written: ENOENT", 1],
  ])("is refused: %j", async (args, why, code) => {
    const ended = await weft(["capture", ...args, "--socket", socket]);
    expect(ended.stderr).toContain(`weft: ${why}`);
    expect([ended.code, ended.stdout]).toEqual([code, ""]);
  });

  it("needs an agent", async () => {
    const { code, stderr } = await weft(["capture", "--socket", "/nonexistent/socket"]);
    expect(code).toBe(3);
    expect(stderr).toContain("there is no such socket");
  });
});
