/** The loop in this very thread: a pair of UDP sockets stands in for the device. */
import { afterEach, expect, it } from "vitest";
import { parseEndpoint, parseMac, parsePrefix } from "../../src/address.js";
import { readCounters } from "../../src/core/counters.js";
import { Core } from "../../src/core/instance.js";
import { Publisher } from "../../src/core/publish.js";
import {
  check,
  close,
  connect,
  eventfd,
  eventfdWrite,
  hostAddress,
  read,
} from "../../src/io/libc.js";
import { type Command, Loop, type Report } from "../../src/io/loop.js";
import { boundPort, openUdp, sendDatagram } from "../../src/io/udp.js";
import type { Peer } from "../../src/peer.js";
import { writeSockaddr } from "../../src/sockaddr.js";
import { A, B, read as fromDevice, hostOf, MTU, virtio } from "../core/host.js";
import { ipv4, UDP, udp, vxlan } from "../packets.js";

const LOOPBACK = "127.0.0.1";
const EFD_NONBLOCK = 0o4000;
const NO_OFFLOAD = virtio().length;

let open: number[] = [];
const kept = (fd: number): number => {
  open.push(fd);
  return fd;
};
const socket = (): number => kept(openUdp(LOOPBACK, 0));
const endpoint = (fd: number): string => `${LOOPBACK}:${boundPort(fd)}`;

afterEach(() => {
  for (const fd of open) close(fd);
  open = [];
});

/** Two sockets, each of which sends to the other and hears nobody else. */
function pair(): [number, number] {
  const ends: [number, number] = [socket(), socket()];
  for (const [from, to] of [ends, ends.toReversed()] as [number, number][]) {
    const sockaddr = new Uint8Array(28);
    const length = writeSockaddr(new DataView(sockaddr.buffer), parseEndpoint(endpoint(to)));
    check(connect(from, sockaddr, length), "connect");
  }
  return ends;
}

/** The datagram that has come to a socket, or nothing. */
function arrived(fd: number): Uint8Array | undefined {
  const bytes = new Uint8Array(65_536);
  const length = read(fd, hostAddress(bytes), bytes.length);
  return length < 0 ? undefined : bytes.slice(0, length);
}

/** Node A, with B at the socket `peer`. Its loop follows the command, looks once more, and ends. */
async function node(command?: (at: { device: number; wire: number }) => Command) {
  const [device, host] = pair();
  const [wire, peer] = [socket(), socket()];
  const core = await Core.create();
  core.view.setBigUint64(core.layout.HOST_BASE, BigInt(hostAddress(core.bytes)), true);
  const own = { vni: 1, mac: parseMac(A.mac), mtu: MTU, leases: A.leases.map(parsePrefix) };
  new Publisher(core).publish(own, [{ ...B, endpoint: endpoint(peer) }]);

  const wake = kept(check(eventfd(1, EFD_NONBLOCK), "eventfd"));
  const first = command?.({ device, wire });
  const commands = [...(first ? [first, undefined] : []), undefined, "stop" as const];
  const reports: Report[] = [];
  const parts = {
    core,
    tun: device,
    udp: wire,
    wake,
    notified: new Int32Array(new SharedArrayBuffer(4)),
    nextCommand: () => {
      eventfdWrite(wake, 1);
      return commands.shift();
    },
    post: (report: Report) => reports.push(report),
  };
  return { core, loop: new Loop(parts, { busyPoll: 0 }), device, host, wire, peer, reports };
}

function packet(from: Peer, to: Peer): Uint8Array {
  const [src, dst] = [hostOf(from), hostOf(to)];
  return ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, Buffer.from("hi")) });
}

it("carries a packet from the device to the peer's socket", async () => {
  const { core, loop, device, host, peer, reports } = await node();
  sendDatagram(host, endpoint(device), fromDevice(packet(A, B)));
  loop.run();
  expect(reports).toEqual(["ready"]);
  expect(readCounters(core).out).toMatchObject({ received: 1, delivered: 1 });
  expect(arrived(peer)).toHaveLength(vxlan(packet(A, B)).length);
});

it("carries a packet from the wire to the device", async () => {
  const { core, loop, host, wire, peer } = await node();
  sendDatagram(peer, endpoint(wire), vxlan(packet(B, A)));
  loop.run();
  expect(readCounters(core).in).toMatchObject({ received: 1, delivered: 1 });
  expect(arrived(host)!.subarray(NO_OFFLOAD)).toEqual(packet(B, A));
});

it("uses another socket as soon as it is told to", async () => {
  const other = socket();
  const { loop, device, host, wire, peer, reports } = await node(() => ({ udp: other }));
  sendDatagram(host, endpoint(device), fromDevice(packet(A, B)));
  sendDatagram(peer, endpoint(wire), vxlan(packet(B, A)));
  sendDatagram(peer, endpoint(other), vxlan(packet(B, A)));
  loop.run();
  expect(reports).toEqual(["ready", "exchanged"]);
  expect(arrived(peer)).toBeDefined();
  expect(arrived(host)).toBeDefined();
  expect(arrived(host)).toBeUndefined();
});

it("keeps nothing that a second loop of the same process would see", async () => {
  const [first, second] = [await node(), await node()];
  sendDatagram(first.host, endpoint(first.device), fromDevice(packet(A, B)));
  for (const { loop } of [first, second]) loop.run();
  expect(readCounters(first.core).out.received).toBe(1);
  expect(readCounters(second.core).out.received).toBe(0);
});
