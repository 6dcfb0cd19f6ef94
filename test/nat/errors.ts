/** ICMP errors about packets. */
import { echo, ICMP, ICMPV6, ipv4, ipv6 } from "../packets.js";
import { withSum6 } from "./tuple.js";

export interface ErrorFields {
  readonly src: string;
  readonly dst: string;
  /** Default: destination unreachable, by the host's port. */
  readonly type?: number;
  readonly code?: number;
  /** The second half of the first 8 bytes, as the next MTU. */
  readonly rest?: number;
  /** Bytes of the packet that are quoted; default 28 of IPv4, all of IPv6. */
  readonly length?: number;
}

export function icmpError(about: Uint8Array, fields: ErrorFields): Uint8Array {
  const { src, dst, rest = 0 } = fields;
  const isIPv4 = !src.includes(":");
  const { type = isIPv4 ? 3 : 1, code = isIPv4 ? 3 : 4 } = fields;
  const quoted = about.subarray(0, fields.length ?? (isIPv4 ? 28 : 1232));
  const message = withCode(echo(quoted, { type, id: rest >>> 16, sequence: rest & 0xffff }), code);
  return isIPv4
    ? ipv4({ src, dst, protocol: ICMP, payload: message })
    : ipv6({ src, dst, protocol: ICMPV6, payload: withSum6(message, src, dst) });
}

/** The message with another code, and its checksum. */
function withCode(message: Uint8Array, code: number): Uint8Array {
  const bytes = Uint8Array.from(message);
  const view = new DataView(bytes.buffer);
  const sum = (~view.getUint16(2) & 0xffff) + code;
  view.setUint8(1, code);
  view.setUint16(2, ~(sum > 0xffff ? sum - 0xffff : sum) & 0xffff);
  return bytes;
}
