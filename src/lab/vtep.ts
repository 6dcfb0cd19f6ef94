/**
 * A Linux kernel `vxlan` device, set up exactly as flannel does: no learning,
 * the subnet's first address as its own, and for each peer a permanent
 * neighbour, a forwarding entry and an on-link route.
 */
import type { Host } from "./namespace.js";

export interface VtepOptions {
  /** The subnet behind it. */
  readonly subnet: string;
  readonly vni?: number;
  readonly port?: number;
  /** "default" leaves checksums of inner packets to hardware that is not there; "off" finishes them. */
  readonly offloads?: "default" | "off";
}

/** Another VTEP, as this one must know it. */
export interface Neighbour {
  /** Underlay address. */
  readonly endpoint: string;
  readonly mac: string;
  readonly subnet: string;
}

export interface Vtep {
  readonly host: Host;
  readonly device: string;
  readonly subnet: string;
  readonly endpoint: string;
  readonly port: number;
  readonly mac: string;
  /** Its overlay address. */
  readonly address: string;
}

const OFFLOADS = ["tx", "rx", "tso", "gso", "gro", "tx-udp-segmentation"];

export async function kernelVtep(host: Host, options: VtepOptions): Promise<Vtep> {
  const { subnet, vni = 1, port = 4789, offloads = "default" } = options;
  const device = `flannel.${vni}`;
  const address = base(subnet);
  await host.ip(
    `link add ${device} type vxlan id ${vni} dev eth0 local ${host.address} dstport ${port} nolearning`,
    `link set ${device} addrgenmode none`,
    `addr add ${address}/32 dev ${device}`,
    `link set ${device} up`,
  );
  if (offloads === "off") await turnOffloadsOff(host, [device, "eth0"]);
  const [link] = JSON.parse(await host.exec(["ip", "-j", "link", "show", device]));
  return { host, device, subnet, endpoint: host.address, port, mac: link.address, address };
}

/** Teaches a VTEP where a subnet is. The same again changes nothing. */
export async function teach({ host, device }: Vtep, peer: Neighbour): Promise<void> {
  const hop = base(peer.subnet);
  await host.ip(
    `neigh replace ${hop} lladdr ${peer.mac} dev ${device} nud permanent`,
    `route replace ${peer.subnet} via ${hop} dev ${device} onlink`,
  );
  await host.exec([
    "bridge",
    "fdb",
    "replace",
    peer.mac,
    "dev",
    device,
    "dst",
    peer.endpoint,
    "self",
  ]);
}

/** The `--static-peer` that makes a weft node know this VTEP. */
export const staticPeer = ({ host, endpoint, port, mac, subnet }: Vtep): string =>
  `name=${host.name},endpoint=${endpoint}:${port},mac=${mac},subnets=${subnet}`;

/** Every packet complete and on its own, as between machines without such hardware. */
export async function turnOffloadsOff(host: Host, devices: readonly string[]): Promise<void> {
  for (const device of devices) {
    await host.exec(["ethtool", "-K", device, ...OFFLOADS.flatMap((it) => [it, "off"])]);
  }
}

const base = (subnet: string): string => subnet.split("/")[0] ?? subnet;
