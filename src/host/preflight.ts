/** Checks before anything on the host is changed. No check changes anything. */
import { createSocket } from "node:dgram";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { type Address, formatAddress } from "../address.js";
import { type Config, foundedNetwork } from "../config/config.js";
import { WeftError } from "../error.js";
import { conflictError, findConflicts, isFatal } from "./conflict.js";
import { ask, change } from "./ip.js";
import { deviceExists } from "./link.js";
import { holderOfDevice, inWords } from "./other-agent.js";
import { ThroughCore } from "./through-core.js";
import type { UnderlayInterface } from "./underlay.js";
import { ROUTE_PROTOCOL } from "./unreachable.js";

/** <linux/capability.h> */
const CAP_NET_ADMIN = 12n;
const TUN = "/dev/net/tun";

/** Checks that this process has the rights and the tools it needs. @throws WeftError ROOT, TUN or NO_IP */
export async function checkMeans(): Promise<void> {
  mayConfigureNetwork();
  tunOpens();
  await ask("link", "show", "lo");
  await ipMayConfigureNetwork();
}

/** Checks that MTU, device, ports and network are free to use. @throws WeftError MTU, DEVICE, PORT or CONFLICT */
export async function checkRoom(config: Config, underlay: UnderlayInterface): Promise<void> {
  const { tun, mtu, port, meshPort } = config;
  if (mtu !== undefined && underlay.mtu !== undefined && mtu > underlay.mtu) {
    throw new WeftError(
      "MTU",
      `an underlay MTU of ${mtu} is more than the ${underlay.mtu} that packets to peers may have here`,
      "leave --mtu out, or raise the MTU of the interface first",
    );
  }
  if (await deviceExists(tun)) {
    throw deviceExistsAlready(tun);
  }
  await udpPortFree(underlay.address, port);
  await tcpPortFree(underlay.address, meshPort);
  await networkFree(config);
  if (config.throughCore) await new ThroughCore(config.state).refuseConflicts();
}

/** Refuses to found a cluster on a network whose packets this host would route elsewhere. */
async function networkFree(config: Config): Promise<void> {
  const { tun: device } = config;
  const conflicts = await findConflicts({ device, routed: foundedNetwork(config), leases: [] });
  const fatal = conflicts.find((it) => isFatal(it, []));
  if (fatal) throw conflictError(fatal, device);
}

function deviceExistsAlready(tun: string): WeftError {
  const holder = holderOfDevice(tun);
  return holder
    ? new WeftError(
        "DEVICE",
        `another agent (${inWords(holder)}) runs on this host, with the network device ${tun}`,
        "let it run; a second one beside it needs a --tun, --port, --mesh-port, --socket and --state of its own",
      )
    : new WeftError(
        "DEVICE",
        `a network device named ${tun} exists already, and no process in this network namespace holds it`,
        `choose another name with --tun, or remove it with: ip link delete ${tun}`,
      );
}

function mayConfigureNetwork(): void {
  if (hasNetAdmin("Eff")) return;
  throw new WeftError(
    "ROOT",
    "making a network device needs root, or the capability CAP_NET_ADMIN",
    "run it as root: sudo weft up ...",
  );
}

/** Whether CAP_NET_ADMIN is in this set of the process (capabilities(7)). */
function hasNetAdmin(set: "Eff" | "Amb"): boolean {
  const line = new RegExp(`^Cap${set}:\\s*([0-9a-f]+)$`, "m");
  const value = line.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${value}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

/** A route that no host has: to an address reserved for documentation (RFC 5737). */
const NO_ROUTE = `unreachable 203.0.113.255/32 proto ${ROUTE_PROTOCOL} metric ${2 ** 32 - 1}`;

/**
 * Checks that the `ip` command, which makes the changes, may change routes: a capability of the node
 * binary's file is not inherited by it. The kernel checks the right before it looks for the route.
 */
async function ipMayConfigureNetwork(): Promise<void> {
  const refused = await change([`route del ${NO_ROUTE}`]).then(
    () => undefined,
    (error: WeftError) => error,
  );
  if (!refused || !/not permitted/.test(refused.message)) return;
  throw new WeftError(
    "ROOT",
    hasNetAdmin("Amb") || process.geteuid?.() === 0
      ? "the ip command may not change routes here: CAP_NET_ADMIN does not reach this network namespace"
      : "this process has CAP_NET_ADMIN, but the ip command that it runs does not get it: a capability of a file ends with that program",
    "run it as root, or as root: setpriv --reuid USER --clear-groups --inh-caps +net_admin --ambient-caps +net_admin weft up ... (in a systemd unit: AmbientCapabilities=CAP_NET_ADMIN)",
  );
}

function tunOpens(): void {
  try {
    closeSync(openSync(TUN, "r+"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === "ENOENT" || code === "ENODEV" || code === "ENXIO"
      ? new WeftError(
          "TUN",
          `${TUN} does not exist, so no network device can be made`,
          "load the driver with: modprobe tun (in a container: start it with --device /dev/net/tun)",
        )
      : new WeftError(
          "TUN",
          `${TUN} cannot be opened (${code}), so no network device can be made`,
          "allow this process to read and write it (in a container: --device /dev/net/tun)",
        );
  }
}

const udpPortFree = (address: Address, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = createSocket(address.family === 4 ? "udp4" : "udp6");
    socket.once("error", (error) => reject(portTaken("UDP", port, "--port", address, error)));
    socket.bind({ address: formatAddress(address), port, exclusive: true }, () =>
      socket.close(() => resolve()),
    );
  });

const tcpPortFree = (address: Address, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => reject(portTaken("TCP", port, "--mesh-port", address, error)));
    server.listen({ host: formatAddress(address), port, exclusive: true }, () =>
      server.close(() => resolve()),
    );
  });

function portTaken(
  protocol: string,
  port: number,
  flag: string,
  address: Address,
  { code, message }: NodeJS.ErrnoException,
): WeftError {
  const why = code === "EADDRINUSE" ? "is already in use" : `cannot be used: ${message}`;
  return new WeftError(
    "PORT",
    `${protocol} port ${port} of ${formatAddress(address)} ${why}`,
    `choose another with ${flag}, or find the process that uses it with: ss -lnp sport = :${port}`,
  );
}
