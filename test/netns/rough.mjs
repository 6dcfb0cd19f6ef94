// A bad link: packets that are routed into its TUN device come back late, and
// some of them not at all, twice, before their turn, or with a bit turned.
//
//     node rough.mjs DEVICE SEED       prints "ready", and when told to end what it did
//
// What tc-netem does, where the kernel has it; this does the same everywhere, and
// the same again for the same seed and packets.
import { constants, openSync, read, writeSync } from "node:fs";
import { promisify } from "node:util";
import koffi from "koffi";

const LOST = 0.01;
const TWICE = 0.005;
const EARLY = 0.02;
const TURNED = 0.001;
const DELAY_MS = 5;

const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
/** struct ifreq: the name, then the flags. */
const IFREQ_SIZE = 40;
const IFREQ_FLAGS = 16;
/** Beyond the IP header: a packet whose addresses are wrong would be lost, not wrong. */
const IP_HEADER = { 4: 20, 6: 40 };

const [device, seed] = process.argv.slice(2);
const random = randomOf(Number(seed) >>> 0);
const tun = openSync("/dev/net/tun", constants.O_RDWR);
const request = Buffer.alloc(IFREQ_SIZE);
request.write(device);
request.writeUInt16LE(IFF_TUN | IFF_NO_PI, IFREQ_FLAGS);
const ioctl = koffi.load("libc.so.6").func("int ioctl(int fd, ulong request, void *argument)");
if (ioctl(tun, TUNSETIFF, request) < 0) throw new Error(`cannot make ${device}`);
const done = { carried: 0, lost: 0, twice: 0, early: 0, turned: 0 };
process.on("SIGTERM", () => {
  console.log(JSON.stringify(done));
  process.exit(); // the kernel's read, which waits for a packet, does not keep it
});
console.log("ready");

for (;;) {
  const { bytesRead, buffer } = await promisify(read)(tun, Buffer.alloc(65_536), 0, 65_536, null);
  carry(buffer.subarray(0, bytesRead));
}

function carry(packet) {
  if (happens("lost", LOST)) return;
  if (happens("turned", TURNED)) turnOneBit(packet);
  const copies = happens("twice", TWICE) ? 2 : 1;
  const delay = happens("early", EARLY) ? 0 : DELAY_MS;
  done.carried += 1;
  for (let i = 0; i < copies; i++) setTimeout(() => writeSync(tun, packet), delay);
}

function happens(what, probability) {
  const it = random() < probability;
  if (it) done[what] += 1;
  return it;
}

function turnOneBit(packet) {
  const from = IP_HEADER[packet[0] >> 4] ?? 0;
  if (packet.length <= from) return;
  const at = from + Math.floor(random() * (packet.length - from));
  packet[at] ^= 1 << Math.floor(random() * 8);
}

/** mulberry32: numbers from 0 to 1. */
function randomOf(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
