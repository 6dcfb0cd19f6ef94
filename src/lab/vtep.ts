/**
 * A Linux kernel `vxlan` device, configured as flannel does: no learning, the subnet's first address
 * as its own, and for each peer a permanent neighbour, a forwarding entry and an on-link route.
 */
import type { Host } from "./namespace.js";

export interface VtepOptions {
  /** The subnet behind it. */
  readonly subnet: string;
  /** The IPv6 subnet behind it, if any. */
  readonly subnet6?: string;
  /** The family of the host's address that is its underlay, by default 4. */
  readonly underlay?: 4 | 6;
  readonly vni?: number;
  readonly port?: number;
  /** "default" leaves inner checksums to hardware that does not exist; "off" computes them in the kernel. */
  readonly offloads?: "default" | "off";
}

/** The parameters of another VTEP that a VTEP needs. */
export interface Neighbour {
  /** Underlay address. */
  readonly endpoint: string;
  readonly mac: string;
  readonly subnet: string;
  readonly subnet6?: string | undefined;
}

export interface Vtep extends Neighbour {
  readonly host: Host;
  readonly device: string;
  readonly port: number;
  /** Its overlay address. */
  readonly address: string;
  readonly address6: string | undefined;
}

const OFFLOADS = ["tx", "rx", "tso", "gso", "gro", "tx-udp-segmentation"];

export async function kernelVtep(host: Host, options: VtepOptions): Promise<Vtep> {
  const { subnet, subnet6, underlay = 4, vni = 1, port = 4789, offloads = "default" } = options;
  const device = `flannel.${vni}`;
  const endpoint = underlay === 6 ? host.address6 : host.address;
  const [address, address6] = [base(subnet), subnet6 && base(subnet6)];
  await host.ip(
    `link add ${device} type vxlan id ${vni} dev eth0 local ${endpoint} dstport ${port} nolearning`,
    `link set ${device} addrgenmode none`,
    `addr add ${address}/32 dev ${device}`,
    ...(address6 ? [`addr add ${address6}/128 dev ${device} nodad`] : []),
    `link set ${device} up`,
  );
  if (offloads === "off") await turnOffloadsOff(host, [device, "eth0"]);
  const [{ address: mac }] = JSON.parse(await host.exec(["ip", "-j", "link", "show", device]));
  return { host, device, subnet, subnet6, endpoint, port, mac, address, address6 };
}

/** Adds the routes and entries for another VTEP's subnets. Repeating it changes nothing. */
export async function addNeighbours({ host, device }: Vtep, peer: Neighbour): Promise<void> {
  for (const subnet of [peer.subnet, peer.subnet6]) {
    if (subnet === undefined) continue;
    const hop = base(subnet);
    await host.ip(
      `neigh replace ${hop} lladdr ${peer.mac} dev ${device} nud permanent`,
      `route replace ${subnet} via ${hop} dev ${device} onlink`,
    );
  }
  const entry = ["bridge", "fdb", "replace", peer.mac, "dev", device];
  await host.exec([...entry, "dst", peer.endpoint, "self"]);
}

/** The value of `--static-peer` that describes this VTEP to a weft node. */
export function staticPeer({ host, endpoint, port, mac, subnet, subnet6 }: Vtep): string {
  const at = endpoint.includes(":") ? `[${endpoint}]` : endpoint;
  const subnets = [subnet, subnet6].filter((it) => it !== undefined).join("+");
  return `name=${host.name},endpoint=${at}:${port},mac=${mac},subnets=${subnets}`;
}

/** Turns offloads off, so that every packet is complete and single, as between machines without them. */
export async function turnOffloadsOff(host: Host, devices: readonly string[]): Promise<void> {
  for (const device of devices) {
    await host.exec(["ethtool", "-K", device, ...OFFLOADS.flatMap((it) => [it, "off"])]);
  }
}

const base = (subnet: string): string => subnet.split("/")[0] ?? subnet;
