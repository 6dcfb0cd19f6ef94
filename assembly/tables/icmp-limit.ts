/**
 * Limits the rate of ICMP errors (RFC 1812, 4.3.2.8; RFC 4443, 2.4). An error takes a token from each of
 * three buckets, or is not sent: that of its destination, that of the origin of the packet (this host,
 * or the peer that sent it), and that of all errors. Path MTU errors, without which connections hang,
 * have their own buckets, so other errors take none of their tokens.
 *
 * A keyed hash chooses the bucket of a destination, and no bucket is reset for another destination: few
 * addresses share one, and a sender with many source addresses gains nothing.
 */
import { keyedHash } from "../keyed-hash";
import {
  ICMP_BUCKET_SIZE,
  ICMP_ORIGINS,
  ICMP_RATE,
  ICMP_SOURCE_BITS,
  ICMP_SOURCES,
  ICMP_TOTALS,
} from "../memory";
import { Packet } from "../packet";
import { TOO_BIG } from "../reason";
import { hasToken, TokenBucket, takeToken } from "../token-bucket";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";

/** Errors a second, and in a burst. */
const SOURCE_RATE: f64 = 200;
const ORIGIN_RATE: f64 = 500;
const RATE: f64 = ICMP_RATE;

/** Whether this packet may be answered by an error, which then counts as sent. */
export function takeIcmpToken(p: Packet, reason: i32): bool {
  const isPathMtu = reason == TOO_BIG;
  const source = bucketAt(ICMP_SOURCES, sourceHash(p), isPathMtu);
  const origin = bucketAt(ICMP_ORIGINS, p.origin, isPathMtu);
  const total = bucketAt(ICMP_TOTALS, 0, isPathMtu);
  if (!hasToken(source, SOURCE_RATE) || !hasToken(origin, ORIGIN_RATE)) return false;
  if (!hasToken(total, RATE)) return false;
  takeToken(source);
  takeToken(origin);
  takeToken(total);
  return true;
}

/** Buckets are in pairs: path MTU errors, and all others. */
function bucketAt(buckets: usize, i: u32, isPathMtu: bool): TokenBucket {
  return changetype<TokenBucket>(buckets + (i * 2 + u32(isPathMtu)) * ICMP_BUCKET_SIZE);
}

function sourceHash(p: Packet): u32 {
  const hash = p.family == 4 ? keyedHash(ipv4.addresses(p.ip), 1) : keyedHash(ipv6.source(p.ip), 4);
  return <u32>(hash >> (64 - ICMP_SOURCE_BITS));
}
