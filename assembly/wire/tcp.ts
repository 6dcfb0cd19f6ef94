/**
 * TCP (RFC 9293, 3.1), 20 bytes and options.
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |          Source Port          |       Destination Port        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                        Sequence Number                        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                    Acknowledgment Number                      |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   | Offset| Rsrvd |C E U A P R S F|            Window             |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |           Checksum            |         Urgent Pointer        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { BAD_HEADER, TRUNCATED } from "../reason";

const PORTS: usize = 0;
const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const WINDOW: usize = 14;
const CHECKSUM: usize = 16;
const OPTIONS: u32 = 20;

export const TCP_SIZE: u32 = 20;
export const TCP_CHECKSUM: u32 = 16;

export const FIN: u32 = 0x01;
export const SYN: u32 = 0x02;
export const RST: u32 = 0x04;
export const PSH: u32 = 0x08;
export const ACK: u32 = 0x10;
export const CWR: u32 = 0x80;

/** 0 if there is a complete header in `length` bytes at `p`. */
export function checkTcp(p: usize, length: u32): i32 {
  if (length < TCP_SIZE) return TRUNCATED;
  const header = headerLength(p);
  return header < TCP_SIZE || header > length ? BAD_HEADER : 0;
}

export function headerLength(p: usize): u32 {
  return (load<u8>(p, DATA_OFFSET) >> 4) << 2;
}
/** Both ports, as in the header. */
export function ports(p: usize): u32 {
  return load<u32>(p, PORTS);
}
export function sequence(p: usize): u32 {
  return bswap<u32>(load<u32>(p, SEQUENCE));
}
export function acknowledgment(p: usize): u32 {
  return bswap<u32>(load<u32>(p, ACKNOWLEDGMENT));
}
/** The window as stored, without its scale. */
export function window(p: usize): u32 {
  return bswap<u16>(load<u16>(p, WINDOW));
}
export function flags(p: usize): u32 {
  return load<u8>(p, FLAGS);
}
export function storedChecksum(p: usize): u32 {
  return load<u16>(p, CHECKSUM);
}

export function setSequence(p: usize, sequence: u32): void {
  store<u32>(p, bswap<u32>(sequence), SEQUENCE);
}
export function setFlags(p: usize, flags: u32): void {
  store<u8>(p, <u8>flags, FLAGS);
}
export function setChecksum(p: usize, checksum: u16): void {
  store<u16>(p, checksum, CHECKSUM);
}

/** Writes a RST without a checksum; `ports` as in the header. */
export function writeReset(p: usize, ports: u32, sequence: u32): void {
  memory.fill(p, 0, TCP_SIZE);
  store<u32>(p, ports, PORTS);
  setSequence(p, sequence);
  store<u8>(p, <u8>(TCP_SIZE << 2), DATA_OFFSET);
  setFlags(p, RST);
}

/** Whether ports, acknowledgment, reserved bits, window and options are equal, as within a stream. */
export function isAlike(a: usize, b: usize): bool {
  if (load<u32>(a, PORTS) != load<u32>(b, PORTS)) return false;
  if (load<u32>(a, ACKNOWLEDGMENT) != load<u32>(b, ACKNOWLEDGMENT)) return false;
  if (load<u16>(a, WINDOW) != load<u16>(b, WINDOW)) return false;
  if (load<u8>(a, DATA_OFFSET) != load<u8>(b, DATA_OFFSET)) return false;
  const header = headerLength(a);
  for (let i: u32 = OPTIONS; i < header; i += 4) {
    if (load<u32>(a + i) != load<u32>(b + i)) return false;
  }
  return true;
}

/** Address of the value of the maximum segment size option (RFC 9293, 3.2), or 0. */
export function findMss(p: usize): usize {
  return findOption(p, 2, 4);
}

/** Address of the value of the window scale option (RFC 7323, 2.2), or 0. */
export function findScale(p: usize): usize {
  return findOption(p, 3, 3);
}

function findOption(p: usize, wanted: u32, size: u32): usize {
  const END_OF_OPTIONS: u32 = 0;
  const NO_OPERATION: u32 = 1;
  const end = p + headerLength(p);
  let at = p + OPTIONS;
  while (at < end) {
    const kind: u32 = load<u8>(at);
    if (kind == END_OF_OPTIONS) return 0;
    if (kind == NO_OPERATION) {
      at += 1;
      continue;
    }
    if (at + 1 >= end) return 0;
    const length: u32 = load<u8>(at, 1);
    // A length of 0 or 1 would loop for ever; one beyond the end is wrong.
    if (length < 2 || at + length > end) return 0;
    if (kind == wanted && length == size) return at + 2;
    at += length;
  }
  return 0;
}
