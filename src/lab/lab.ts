/**
 * The lab has several hosts on one machine: network namespaces, each joined by a veth pair to a
 * bridge. The bridges have a namespace of their own, so the machine's own network is neither used
 * nor changed.
 *
 *     h1            h2            h3
 *     eth0          eth0          eth0        192.0.2.1, .2, .3 /24, 2001:db8:1::1, ::2, ::3 /64
 *      |             |             |
 *     h1            h2            h3          ports, named after their hosts
 *     -+-------------+-------------+-  near   the bridge
 *
 * Hosts of the far segment have a bridge of their own; link.ts joins the two.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type AgentOptions, LabAgent } from "./agent.js";
import { Host, Namespace } from "./namespace.js";
import { RunningProgram } from "./running.js";

/** Address prefixes for documentation (RFC 5737, RFC 3849), which no real network uses. */
export const SEGMENTS = {
  near: { ipv4: "192.0.2.", ipv6: "2001:db8:1::" },
  far: { ipv4: "198.51.100.", ipv6: "2001:db8:2::" },
} as const;
export type Segment = keyof typeof SEGMENTS;

const MOST_HOSTS = 254;
const NAME = /^[a-z][a-z0-9-]{0,11}$/;
const OURS = /^weftlab-(\d+)-/;
const NAMESPACES = "/run/netns";
/** A bridge passes frames through these firewalls if they are loaded; a cable does not, so they are turned off. */
const BRIDGE_FIREWALLS = ["arptables", "iptables", "ip6tables"];
const UP_WITHIN_MS = 10_000;
const POLL_MS = 10;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

let opened = 0;

export class Lab {
  /** The namespace of the bridges, with one port per host, named after it. Captures run here. */
  readonly wire: Namespace;
  /** Secrets, state, sockets and captures; removed with the lab. */
  readonly folder: string;
  readonly #prefix = `weftlab-${process.pid}-${++opened}-`;
  readonly #started = new Set<RunningProgram>();
  readonly #hosts: Host[] = [];

  private constructor() {
    this.folder = mkdtempSync(join(tmpdir(), this.#prefix));
    this.wire = new Namespace(`${this.#prefix}wire`, this.#started);
  }

  static async open(): Promise<Lab> {
    removeLeftovers();
    const lab = new Lab();
    for (const signal of SIGNALS) process.on(signal, lab.#onSignal);
    process.on("exit", lab.#sweep);
    try {
      await lab.#add(lab.wire);
      for (const segment of Object.keys(SEGMENTS)) {
        await lab.wire.ip(
          `link add ${segment} type bridge mcast_snooping 0`,
          `link set ${segment} addrgenmode none up`,
        );
      }
      if (existsSync("/proc/sys/net/bridge")) {
        for (const it of BRIDGE_FIREWALLS)
          await lab.wire.sysctl(`net/bridge/bridge-nf-call-${it}`, 0);
      }
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** Adds a host with the next free underlay addresses. `mtu` is the MTU of its eth0. */
  async host(
    name: string,
    { mtu = 1500, segment = "near" }: { mtu?: number; segment?: Segment } = {},
  ): Promise<Host> {
    if (!NAME.test(name) || name in SEGMENTS || this.#hosts.some((host) => host.name === name)) {
      throw new Error(`"${name}" cannot be the name of another host`);
    }
    const number = this.#hosts.length + 1;
    if (number > MOST_HOSTS) throw new Error(`a lab has at most ${MOST_HOSTS} hosts`);
    const { ipv4, ipv6 } = SEGMENTS[segment];
    const addresses = { segment, address: ipv4 + number, address6: ipv6 + number.toString(16) };
    const host = new Host(name, addresses, this.#prefix + name, this.#started);
    this.#hosts.push(host);
    await this.#add(host);
    await this.wire.ip(
      `link add name ${name} mtu ${mtu} type veth peer name eth0 netns ${host.namespace}`,
      `link set dev ${name} master ${segment} addrgenmode none up`,
    );
    await host.ip(
      "link set lo up",
      `link set eth0 mtu ${mtu} addrgenmode none`,
      `addr add ${host.address}/24 dev eth0`,
      `addr add ${host.address6}/64 dev eth0 nodad`,
      `addr add fe80::${number.toString(16)}/64 dev eth0 nodad`,
      "link set eth0 up",
    );
    await untilUp(host);
    return host;
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  /** Starts `weft up` on a host. Its state stays in the lab, and the next agent on that host uses it. */
  agent(host: Host, options: AgentOptions = {}): LabAgent {
    return LabAgent.start(host, this.folder, options);
  }

  /** Ends every process and removes every namespace. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#started].map((running) => running.stop()));
    this.#sweep();
  }

  async #add(namespace: Namespace): Promise<void> {
    const finished = await RunningProgram.start(["ip", "netns", "add", namespace.namespace]).finish(
      10_000,
    );
    if (finished.code !== 0) throw new Error(`no namespace: ${finished.stderr.trim()}`);
  }

  /** Does the same without waiting, as an exit handler must. */
  readonly #sweep = (): void => {
    for (const running of this.#started) running.kill("SIGKILL");
    for (const { namespace } of [this.wire, ...this.#hosts]) removeNamespace(namespace);
    removeFolder(this.folder);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    process.off("exit", this.#sweep);
  };

  /** Cleans up, then lets the signal have its usual effect. */
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#sweep();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
}

/** Removes namespaces and folders of labs whose process was killed. */
/** Linux routes the subnets of a link once it has noticed, in the background, that the link is up. */
async function untilUp(host: Host): Promise<void> {
  const deadline = performance.now() + UP_WITHIN_MS;
  for (;;) {
    const [eth0] = JSON.parse(await host.exec(["ip", "-j", "link", "show", "eth0"]));
    if (eth0.operstate === "UP") return;
    if (performance.now() > deadline) throw new Error(`eth0 of ${host.name} does not come up`);
    await sleep(POLL_MS);
  }
}

function removeLeftovers(): void {
  const orphaned = (name: string) => {
    const pid = OURS.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  };
  for (const name of namespaces().filter(orphaned)) removeNamespace(name);
  for (const name of readdirSync(tmpdir()).filter(orphaned)) removeFolder(join(tmpdir(), name));
}

function removeNamespace(name: string): void {
  if (namespaces().includes(name)) spawnSync("ip", ["netns", "del", name]);
}

function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function namespaces(): string[] {
  // The directory does not exist before the first namespace.
  return existsSync(NAMESPACES) ? readdirSync(NAMESPACES) : [];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
