/**
 * The cost of following connections: packets of 64 bytes of a connection that a policy allowed, the same
 * without a policy, and packets of new connections.
 */
import { parseAddress, parseEndpoint, parseMac, parsePrefix } from "../src/address.js";
import type { AclEntry } from "../src/compile/acl-rule.js";
import { readFlows } from "../src/core/flows.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import { MMSGHDR_LEN, MMSGHDR_SIZE } from "../src/linux.js";
import { writeSockaddr } from "../src/sockaddr.js";
import { ipv4, TCP, type TcpFields, tcp, UDP, udp, vxlan } from "../test/packets.js";
import { nanoseconds } from "./nanoseconds.js";

const OURS = "10.0.1.1";
const SYN = 2;
const ACK = 16;
/** Sequence numbers of the next segments after the handshake, from both ends. */
const NEXT = { sequence: 1001, acknowledgment: 5001 };
const [SPORT, DPORT] = [40_000, 443];
const ANY = { in: [], not: [] };
const ALLOW: AclEntry = {
  rule: {
    number: 1,
    near: ANY,
    far: ANY,
    protocols: [],
    sourcePorts: [],
    destinationPorts: [],
    action: "allow",
  },
  next: 1,
};

interface FlowRow {
  readonly work: string;
  readonly bytes: number;
  readonly ns: number;
  readonly spread: string;
}

const core = await Core.create();
const { layout, view, exports, bytes } = core;
const publisher = new Publisher(core);
const own = {
  vni: 1,
  mac: parseMac("02:00:00:00:00:01"),
  mtu: 1450,
  leases: [parsePrefix("10.0.1.0/24")],
};
const ENDPOINT = "192.0.2.2:4789";
const peers = [
  { name: "b", endpoint: ENDPOINT, mac: "02:00:00:00:00:02", leases: ["10.0.2.0/24"] },
];

export function flowRows(): FlowRow[] {
  publisher.setAddress(parseAddress(OURS));
  exports.prepareReceive();
  publisher.publish(own, peers);
  const rows = established("no policy");
  publisher.publish(own, peers, { rules: [[ALLOW], [ALLOW]], fresh: [1] });
  rows.push(...established("policed"), newFlows());
  const counters = layout.COUNTERS + layout.OUT * layout.COUNTERS_SIZE;
  const received = view.getBigUint64(counters + layout.COUNTER_RECEIVED, true);
  const delivered = view.getBigUint64(counters + layout.COUNTER_DELIVERED, true);
  if (received !== delivered) throw new Error(`only ${delivered} of ${received} packets passed`);
  return rows;
}

function established(how: string): FlowRow[] {
  return [UDP, TCP].map((protocol) => {
    const name = protocol === UDP ? "UDP" : "TCP";
    if (protocol === TCP) shakeHands();
    return measure(`${name} out, ${how}`, fill(protocol), () => {});
  });
}

/** Completes a handshake, so that segments are followed as most segments are. */
function shakeHands(): void {
  fillWith((there) => segment(OURS, there, { flags: SYN, sequence: NEXT.sequence - 1 }));
  runOut();
  const answer = { flags: SYN | ACK, sequence: NEXT.acknowledgment - 1 };
  for (let i = 0; i < layout.BATCH; i++) {
    const fields = { ...answer, acknowledgment: NEXT.sequence, sport: DPORT, dport: SPORT };
    const datagram = vxlan(segment(peerHost(i), OURS, fields));
    bytes.set(datagram, slot(i) - layout.ENCAP_SIZE);
    const message = layout.RECEIVE + i * MMSGHDR_SIZE;
    view.setUint32(message + MMSGHDR_LEN, datagram.length, true);
    const name = layout.RECEIVE_NAMES + i * layout.NAME_SIZE;
    writeSockaddr(new DataView(view.buffer, name), parseEndpoint(ENDPOINT));
  }
  exports.inbound(0, layout.BATCH);
  exports.finishBatch(layout.IN);
  fillWith((there) => segment(OURS, there, { flags: ACK, ...NEXT }));
  runOut();
  const states = readFlows(core, (number) => number).filter(({ state }) => state === "established");
  if (states.length !== layout.BATCH) throw new Error(`${states.length} are established`);
}

/** Each packet is from a port that none of the last 65,536 packets had. */
function newFlows(): FlowRow {
  let next = 0;
  return measure("new flow out, policed", fill(UDP), () => {
    for (let i = 0; i < layout.BATCH; i++) {
      next = (next + 1) & 0x3ffffff;
      view.setUint16(slot(i) + 20, next & 0xffff);
      view.setUint16(slot(i) + 22, next >> 16);
    }
  });
}

function fill(protocol: number): () => void {
  fillWith((there) =>
    protocol === TCP
      ? segment(OURS, there, { flags: ACK, ...NEXT }, 24)
      : ipv4({
          src: OURS,
          dst: there,
          protocol,
          payload: udp(OURS, there, new Uint8Array(36)),
        }),
  );
  const changed = Array.from({ length: layout.BATCH }, (_, i) => view.getUint32(slot(i) + 8, true));
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      view.setFloat64(slot(i) - layout.VIRTIO_SIZE, 0);
      view.setUint16(slot(i) - 2, 0);
      view.setUint32(slot(i) + 8, changed[i]!, true);
    }
  };
}

function fillWith(packetTo: (there: string) => Uint8Array): void {
  for (let i = 0; i < layout.BATCH; i++) {
    const packet = packetTo(peerHost(i));
    bytes.fill(0, slot(i) - layout.VIRTIO_SIZE, slot(i));
    bytes.set(packet, slot(i));
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + packet.length, true);
  }
}

function segment(src: string, dst: string, fields: TcpFields, size = 0): Uint8Array {
  const ports = { sport: SPORT, dport: DPORT };
  const payload = tcp(src, dst, new Uint8Array(size), { ...ports, ...fields });
  return ipv4({ src, dst, protocol: TCP, payload });
}

function runOut(): void {
  exports.outbound(0, layout.BATCH);
  exports.finishBatch(layout.OUT);
}

/** The time for restoring between two runs is measured too, and subtracted. */
function measure(work: string, restore: () => void, before: () => void): FlowRow {
  const upkeep = () => {
    restore();
    before();
  };
  const own = nanoseconds(upkeep).median;
  const { median, spread } = nanoseconds(() => {
    upkeep();
    runOut();
  });
  return {
    work,
    bytes: 64,
    ns: Number(((median - own) / layout.BATCH).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

function peerHost(i: number): string {
  return `10.0.2.${1 + i}`;
}

function slot(i: number): number {
  return layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
}
