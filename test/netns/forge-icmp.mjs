// Sends forged ICMP errors to a host until it is ended.
//
//     node forge-icmp.mjs FROM TO EVERY_MS MTU           "fragmentation needed", "packet too big"
//     node forge-icmp.mjs FROM TO EVERY_MS TYPE CODE     any other error
//
// They are about a VXLAN datagram from TO to FROM, port 4789 to 4789, and quote how it began.
import { setTimeout as sleep } from "node:timers/promises";
import { parseAddress, toBytes } from "../../dist/address.js";
import { check, sendto, socket } from "../../dist/io/libc.js";
import { AF_INET, AF_INET6, SOCKADDR_SIZE } from "../../dist/linux.js";
import { writeSockaddr } from "../../dist/sockaddr.js";

const SOCK_RAW = 3;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const VXLAN_PORT = 4789;
/** Longer than what is sent: the datagram was too big. */
const SIZE = 1472;
/** At most so many without a pause. */
const BURST = 500;

const [from, to] = process.argv.slice(2);
const [everyMs, ...kind] = process.argv.slice(4).map(Number);
const [peer, victim] = [parseAddress(from), parseAddress(to)];
const isIPv4 = victim.family === 4;
const mtu = kind.length === 1 ? kind[0] : 0;
const [type, code] = kind.length === 2 ? kind : isIPv4 ? [3, 4] : [2, 0];
const fd = check(
  socket(isIPv4 ? AF_INET : AF_INET6, SOCK_RAW, isIPv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6),
  "raw socket",
);
const sockaddr = new Uint8Array(SOCKADDR_SIZE);
const length = writeSockaddr(new DataView(sockaddr.buffer), { address: victim, port: 0 });
const message = isIPv4 ? error4() : error6();

for (let sent = 0; ; sent++) {
  if (everyMs > 0) await sleep(everyMs);
  else if (sent % BURST === 0) await sleep(1);
  sendto(fd, message, message.length, 0, sockaddr, length);
}

/** RFC 792 with the next hop's MTU (RFC 1191, 4); the kernel puts the IP header before it. */
function error4() {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + SIZE, 2);
  ip.writeUInt16BE(0x4000, 6);
  ip[8] = 63;
  ip[9] = 17;
  ip.set(toBytes(victim), 12);
  ip.set(toBytes(peer), 16);
  const error = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), ip, datagram()]);
  error.writeUInt16BE(mtu, 6);
  error.writeUInt16BE(checksum(error), 2);
  return error;
}

/** RFC 4443, 3.2; the kernel makes the checksum. */
function error6() {
  const ip = Buffer.alloc(40);
  ip[0] = 0x60;
  ip.writeUInt16BE(SIZE, 4);
  ip[6] = 17;
  ip[7] = 63;
  ip.set(toBytes(victim), 8);
  ip.set(toBytes(peer), 24);
  const error = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), ip, datagram()]);
  error.writeUInt32BE(mtu, 4);
  return error;
}

/** UDP and VXLAN headers, and MAC addresses that are a guess. */
function datagram() {
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(VXLAN_PORT, 0);
  udp.writeUInt16BE(VXLAN_PORT, 2);
  udp.writeUInt16BE(SIZE, 4);
  const vxlan = Buffer.from("0800000000000100", "hex");
  const ethernet = Buffer.from("020000000002020000000001" + "0800", "hex");
  return Buffer.concat([udp, vxlan, ethernet, Buffer.alloc(64)]);
}

function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
