/** The command as people run it: its own process, built, with nothing of ours in its environment. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { WeftError } from "../../src/error.js";
import type { Control, Counters } from "../../src/http/view.js";

const WEFT = fileURLToPath(new URL("../../dist/cli/weft.js", import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const weft = (
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [WEFT, ...args],
      { env: { PATH: process.env.PATH, ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });

/** A directory for one test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), `weft-cli-${process.pid}-`));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder(), name);
  writeFileSync(path, text, { mode });
  return path;
}

export const COUNTERS: Counters = {
  out: { received: 107, delivered: 100, answered: 2, dropped: { "no route": 5 } },
  in: {
    received: 1000,
    delivered: 999,
    answered: 0,
    dropped: { "wrong VNI": 1 },
    relayed: 30,
    control: 12,
    controlDropped: 0,
  },
};

/** An agent's answers, whatever they are made from. */
export const view = (healthy = true): Control => ({
  forget: (name, { certain }) => {
    if (name === "h2" && certain) return ["10.244.8.0/24"];
    throw new WeftError("TOO_EARLY", `${name} may be cut off only`, "wait");
  },
  status: () => ({
    name: "h1",
    healthy,
    problems: healthy ? [] : ["no peer answers"],
    network: ["10.244.0.0/16"],
    address: "10.244.7.1",
    addresses: ["10.244.7.1", "fd00:244:0:7::1"],
    leases: ["10.244.7.0/24"],
    mac: "02:00:00:00:00:01",
    vni: 1,
    mtu: 1450,
    underlay: "192.0.2.1:4789",
    offloads: { tso: healthy, uso: false, gso: healthy, gro: false },
    peers: 2,
  }),
  peers: () => [
    {
      name: "h2",
      endpoint: "192.0.2.2:4789",
      mac: "02:00:00:00:00:02",
      leases: ["10.244.8.0/24", "10.244.9.0/24"],
      state: "established",
      path: "direct",
      rttMs: 0.4,
      loss: 0.25,
      mtu: 1450,
    },
    {
      name: "evil\u001b[2J",
      endpoint: "192.0.2.33:4789",
      mac: "02:00:00:00:00:03",
      leases: [],
      state: "connecting",
      path: "via h2",
      rttMs: null,
      loss: null,
      mtu: 1280,
    },
  ],
  routes: () => [{ prefix: "10.244.8.0/24", peer: "h2", via: "192.0.2.2:4789" }],
  leases: () => [
    { subnet: "10.244.7.0/24", owner: "h1", expires: "2030-01-01T00:00:00.000Z" },
    { subnet: "10.244.9.0/24", owner: "flannel", expires: null },
  ],
  counters: () => COUNTERS,
});
