/** Captures packets on the bridge and decodes them with Wireshark's tshark. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lab } from "./lab.js";
import type { Host } from "./namespace.js";
import type { RunningProgram } from "./running.js";

/** One VXLAN packet; `outer` and `inner` are [source, destination] addresses. */
export interface CapturedVxlan {
  readonly vni: number;
  readonly outer: readonly [string, string];
  readonly inner: readonly [string, string];
  /** Source and destination in the inner Ethernet header. */
  readonly macs: readonly [string, string];
  /** IPv4 protocol number of the inner packet. */
  readonly protocol: number;
}

/** Milliseconds to wait for the last packets, which the kernel delivers in blocks up to 250 ms late. */
const DELIVERY_MS = 600;

const FIELDS = ["vxlan.vni", "ip.src", "ip.dst", "eth.src", "eth.dst", "ip.proto"];

export class BridgeCapture {
  readonly #lab: Lab;
  readonly #running: RunningProgram;
  readonly #file: string;
  readonly #port: number;

  private constructor(lab: Lab, running: RunningProgram, file: string, port: number) {
    this.#lab = lab;
    this.#running = running;
    this.#file = file;
    this.#port = port;
  }

  /** Captures the UDP datagrams of this port that enter or leave a host's bridge port. */
  static async start(lab: Lab, host: Host, port = 4789): Promise<BridgeCapture> {
    const file = join(lab.folder, `${host.name}-${Date.now()}.pcapng`);
    const argv = ["tshark", "-i", host.name, "-f", `udp port ${port}`, "-w", file];
    const running = lab.wire.spawn(argv);
    await running.waitForOutput(/Capture started/);
    return new BridgeCapture(lab, running, file, port);
  }

  /** Ends the capture and returns the packets that tshark decodes as VXLAN. */
  async stop(): Promise<CapturedVxlan[]> {
    await sleep(DELIVERY_MS);
    await this.#running.stop("SIGINT");
    const argv = ["tshark", "-n", "-r", this.#file, "-d", `udp.port==${this.#port},vxlan`];
    argv.push("-Y", "vxlan", "-T", "fields", ...FIELDS.flatMap((field) => ["-e", field]));
    return (await this.#lab.wire.exec(argv)).trim().split("\n").filter(Boolean).map(parse);
  }
}

/** A field that occurs in both headers is written `outer,inner`. */
function parse(line: string): CapturedVxlan {
  const [
    vni = "",
    sources = "",
    destinations = "",
    macSources = "",
    macDestinations = "",
    protocols = "",
  ] = line.split("\t");
  const [outerSource = "", innerSource = ""] = sources.split(",");
  const [outerDestination = "", innerDestination = ""] = destinations.split(",");
  return {
    vni: Number(vni),
    outer: [outerSource, outerDestination],
    inner: [innerSource, innerDestination],
    macs: [macSources.split(",")[1] ?? "", macDestinations.split(",")[1] ?? ""],
    protocol: Number(protocols.split(",")[1]),
  };
}
