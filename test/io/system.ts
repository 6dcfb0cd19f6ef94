/** The system calls of the tests: bytes in and out of one descriptor. */
import { setTimeout as sleep } from "node:timers/promises";
import { errno, hostAddress, read, sendmmsg, writev } from "../../src/io/libc.js";

const POLL_MS = 2;

/** What a non-blocking descriptor has to give that satisfies `wanted`, waited for. */
export async function readUntil(fd: number, wanted: (bytes: Buffer) => boolean): Promise<Buffer> {
  for (;;) {
    const bytes = readNow(fd);
    if (bytes === undefined) await sleep(POLL_MS);
    else if (wanted(bytes)) return bytes;
  }
}

export function readNow(fd: number): Buffer | undefined {
  const buffer = Buffer.alloc(65536 + 10);
  const length = read(fd, hostAddress(buffer), buffer.length);
  return length < 0 ? undefined : buffer.subarray(0, length);
}

/** Gives 0, or the errno that refused it. */
export function writeNow(fd: number, bytes: Uint8Array): number {
  const iovec = BigUint64Array.of(BigInt(hostAddress(bytes)), BigInt(bytes.length));
  return writev(fd, hostAddress(new Uint8Array(iovec.buffer)), 1) < 0 ? errno() : 0;
}

/** Sends one datagram as the core has it sent: mmsghdr, iovec, sockaddr. Gives 0 or the errno. */
export function sendNow(fd: number, to: number[], port: number, body: Uint8Array): number {
  const memory = Buffer.alloc(64 + 16 + 16);
  const base = BigInt(hostAddress(memory));
  memory.writeBigUInt64LE(base + 80n, 0);
  memory.writeUInt32LE(16, 8);
  memory.writeBigUInt64LE(base + 64n, 16);
  memory.writeBigUInt64LE(1n, 24);
  memory.writeBigUInt64LE(BigInt(hostAddress(body)), 64);
  memory.writeBigUInt64LE(BigInt(body.length), 72);
  memory.writeUInt16LE(2, 80);
  memory.writeUInt16BE(port, 82);
  memory.set(to, 84);
  return sendmmsg(fd, Number(base), 1, 0) < 0 ? errno() : 0;
}
