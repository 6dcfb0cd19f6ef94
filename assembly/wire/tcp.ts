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
 *   | Offset| Rsrvd |    Flags      |            Window             |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |           Checksum            |         Urgent Pointer        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { BAD_HEADER, TRUNCATED } from "../reason";

const DATA_OFFSET: usize = 12;

export const TCP_SIZE: u32 = 20;
export const TCP_CHECKSUM: u32 = 16;

/** 0 when a whole header lies in `length` bytes at `p`. */
export function checkTcp(p: usize, length: u32): i32 {
  if (length < TCP_SIZE) return TRUNCATED;
  const header = tcpHeaderLength(p);
  return header < TCP_SIZE || header > length ? BAD_HEADER : 0;
}

export function tcpHeaderLength(p: usize): u32 {
  return (load<u8>(p, DATA_OFFSET) >> 4) << 2;
}
