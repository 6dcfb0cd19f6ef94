// UDP datagrams of many sizes, sent one by one, in fragments, and in GSO batches that the
// sender's kernel is given in one piece (UDP_SEGMENT). The receiver checks each of them.
//
//     node datagrams.mjs receive ADDRESS    prints "listening", then what it received
//     node datagrams.mjs send ADDRESS       prints how many it sent
import { createSocket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";

const PORT = 9001;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** How many bytes to a call; the kernel cuts them into datagrams of `segment` bytes. */
const WORKS = [
  { calls: 1_000, bytes: 64 },
  { calls: 200, bytes: 1_300 },
  { calls: 50, bytes: 8_000 },
  { calls: 50, bytes: 40 * 100 + 7, segment: 100 },
  { calls: 100, bytes: 30 * 1_200 + 7, segment: 1_200 },
];
/** What comes together can be carried together; more than this a socket's buffer might not hold. */
const BURST_DATAGRAMS = 40;
const BURST_BYTES = 40_000;
const PAUSE_MS = 2;
const QUIET_MS = 1_500;
/** Bytes that wait in the socket while a busy machine runs other processes. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const GIVE_UP_MS = 10_000;

const [role, address] = process.argv.slice(2);
const socket = createSocket({
  type: address.includes(":") ? "udp6" : "udp4",
  recvBufferSize: RECEIVE_BUFFER,
});

if (role === "receive") {
  const got = { received: 0, wrong: 0 };
  const end = () => {
    console.log(JSON.stringify(got));
    socket.close();
  };
  let timer = setTimeout(end, GIVE_UP_MS);
  socket.on("message", (datagram) => {
    got.received += 1;
    if (!datagram.equals(content(datagram.readUInt16BE(), datagram.length))) got.wrong += 1;
    clearTimeout(timer);
    timer = setTimeout(end, QUIET_MS);
  });
  socket.bind(PORT, address, () => console.log("listening"));
} else {
  let sent = 0;
  let burst = { datagrams: 0, bytes: 0 };
  await new Promise((bound) => socket.bind(0, bound));
  for (const { calls, bytes, segment = bytes } of WORKS) {
    cutInto(segment === bytes ? 0 : segment);
    for (let call = 0; call < calls; call++) {
      const datagrams = [];
      for (let left = bytes; left > 0; left -= segment) {
        datagrams.push(content(sent++ & 0xffff, Math.min(left, segment)));
      }
      socket.send(datagrams, PORT, address);
      burst.datagrams += datagrams.length;
      burst.bytes += bytes;
      if (burst.datagrams < BURST_DATAGRAMS && burst.bytes < BURST_BYTES) continue;
      await sleep(PAUSE_MS);
      burst = { datagrams: 0, bytes: 0 };
    }
    await sleep(PAUSE_MS); // all are on their way before the next are cut differently
  }
  socket.close();
  console.log(sent);
}

/** Its number, its length, and bytes that follow from both; at least seven bytes. */
function content(number, length) {
  const datagram = Buffer.alloc(length);
  for (let i = 4; i < length; i++) datagram[i] = number * 31 + i * 7 + (i >> 8);
  datagram.writeUInt16BE(number);
  datagram.writeUInt16BE(length, 2);
  return datagram;
}

/** 0: a call is a datagram. */
function cutInto(size) {
  const setsockopt = koffi
    .load("libc.so.6")
    .func("int setsockopt(int fd, int level, int option, void *value, uint size)");
  const value = Buffer.from(Int32Array.of(size).buffer);
  const failed = setsockopt(socket._handle.fd, SOL_UDP, UDP_SEGMENT, value, 4) < 0;
  if (failed) throw new Error("this kernel has no UDP_SEGMENT");
}
