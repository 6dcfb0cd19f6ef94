/**
 * The demo without root: three nodes in this process. Their devices are in memory; their sessions
 * and VXLAN datagrams use the loopback device, and every packet passes the core, as in the agent.
 */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { firstHost, formatAddress, parsePrefix } from "../address.js";
import { Dataplane } from "../dataplane.js";
import { DgramUnderlay } from "../io/dgram.js";
import { memoryPair } from "../io/memory.js";
import { PortableIo } from "../io/portable.js";
import { Mesh } from "../mesh/mesh.js";
import { WsTransport } from "../session/transport-ws.js";
import { MemoryStore } from "../state/store.js";
import { systemClock } from "../time/system-clock.js";
import { answered, type PingPair, pairsOf, pairsTable } from "./pairs.js";
import { Pinger } from "./pinger.js";
import { progress } from "./progress.js";

interface DemoNode {
  readonly name: string;
  readonly mesh: Mesh;
  readonly meshAddress: { readonly host: string; readonly port: number };
  readonly io: PortableIo;
  readonly host: Pinger;
  /** Whether its dataplane has a path to that many peers. */
  reaches(others: number): boolean;
}

const HOSTS = [
  { name: "h1", address: "127.0.0.1" },
  { name: "h2", address: "127.0.0.2" },
  { name: "h3", address: "127.0.0.3" },
] as const;
const NETWORK = parsePrefix("10.244.0.0/16");
const LEASE_LENGTH = 24;
const VNI = 1;
const MTU = 1450;
const SECRET = "a secret only this demo knows";
const PINGS = 5;
const WAIT_LIMIT_MS = 15_000;
const POLL_MS = 20;

export async function rootless(): Promise<void> {
  const nodes: DemoNode[] = [];
  try {
    for (const { name, address } of HOSTS) {
      const previous = nodes.at(-1);
      progress(
        "node",
        `${name} ${address} ${previous ? `joins ${previous.name}` : "founds the network"}`,
      );
      nodes.push(await makeNode(name, address, previous));
    }
    await until("all know all", () => nodes.every(({ reaches }) => reaches(nodes.length - 1)));
    progress("healthy", nodes.map(({ name, host }) => `${name} ${host.address}`).join("   "));
    const pairs = await pingAll(nodes);
    console.log(`\n${pairsTable(pairs)}\n`);
    if (!pairs.every(answered))
      throw new Error("not every ping was answered; the table says which");
  } finally {
    await Promise.all(nodes.flatMap(({ mesh, io }) => [mesh.stop(), io.stop()]));
  }
  progress("done", "nothing is left behind");
}

async function makeNode(name: string, address: string, previous?: DemoNode): Promise<DemoNode> {
  const underlay = await DgramUnderlay.open(address, 0);
  const meshAddress = { host: address, port: await freePort(address) };
  const mesh = new Mesh(
    {
      clock: systemClock,
      transport: new WsTransport({ clock: systemClock, log }, { secrets: [SECRET] }),
      store: new MemoryStore(),
      log,
    },
    {
      name,
      vtep: underlay.endpoint,
      vni: VNI,
      listen: { address, port: meshAddress.port },
      ...(previous
        ? { join: [previous.meshAddress] }
        : { join: [], network: [NETWORK], leaseLength: LEASE_LENGTH }),
    },
  );
  await mesh.start();
  await until(`${name} has a lease`, () => mesh.self().leases.length > 0);

  const { leases, mac } = mesh.self();
  const overlay = formatAddress(firstHost(parsePrefix(leases[0]!)));
  const dataplane = await Dataplane.create({
    vni: VNI,
    mac,
    mtu: MTU,
    address: overlay,
    leases,
    underlay: underlay.endpoint,
  });
  let peers = peersOf(mesh);
  const followMesh = () => {
    peers = peersOf(mesh);
    dataplane.setPeers(peers);
  };
  mesh.on("change", followMesh);
  followMesh();

  const [device, hostEnd] = memoryPair();
  const io = new PortableIo({ dataplane, device, underlay });
  io.start();
  const host = new Pinger(hostEnd, overlay);
  host.start();
  const reaches = (others: number) =>
    peers.length === others && peers.every(({ leases, noPath }) => leases.length > 0 && !noPath);
  return { name, mesh, meshAddress, io, host, reaches };
}

const peersOf = (mesh: Mesh) =>
  mesh.members().map(({ name, endpoint, mac, leases, senders, noPath }) => ({
    ...{ name, endpoint, mac, senders, noPath },
    leases: leases.map(({ subnet }) => subnet),
  }));

async function pingAll(nodes: readonly DemoNode[]): Promise<PingPair[]> {
  const pairs: PingPair[] = [];
  for (const [from, to] of pairsOf(nodes)) {
    const rttMs: number[] = [];
    for (let i = 0; i < PINGS; i++) {
      const rtt = await from.host.ping(to.host.address);
      if (rtt !== undefined) rttMs.push(rtt);
    }
    pairs.push({ from: from.name, to: to.name, sent: PINGS, rttMs });
    progress("ping", `${from.name} -> ${to.name}  ${rttMs.length} of ${PINGS} answered`);
  }
  return pairs;
}

/** Prints warnings and errors; the demo prints its own progress. */
const log = {
  info: () => {},
  warn: (message: string) => progress("warning", message),
  error: (message: string) => progress("error", message),
};

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + WAIT_LIMIT_MS;
  while (!holds()) {
    if (performance.now() > deadline)
      throw new Error(`waited ${WAIT_LIMIT_MS} ms, but not ${what}`);
    await sleep(POLL_MS);
  }
}

/** A TCP port without a listener; an agent may use 6783. */
async function freePort(address: string): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
