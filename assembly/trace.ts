/**
 * What each stage did to a packet, for `explain` (src/explain/explain.ts). The core is
 * built twice from this source: in build/explain.wasm, which EXPLAINING is defined
 * for, every stage leaves a record; in build/core.wasm nothing of this is left.
 *
 *   0       4         8      12      16     20        24       28   32   36
 *   +-------+---------+------+-------+------+---------+--------+----+----+--------+
 *   | stage | verdict | peer | owner | rule | ctState | length | a, b    | packet |
 *   +-------+---------+------+-------+------+---------+--------+----+----+--------+
 *
 * `a` and `b` are of a rule that was met: what it says, and where it stands. In the
 * place of the packet its record has what was asked: the classes of the two
 * addresses, the protocol and the ports.
 */
import {
  ENCAP_SIZE,
  MAX_TRACE,
  TRACE_BYTES,
  TRACE_COUNT,
  TRACE_PACKET,
  TRACE_RECORDS,
  TRACE_SIZE,
} from "./memory";
import { Packet, packetAt } from "./packet";

// In the order of src/explain/trace.ts, which names them.
export const DECAP: u32 = 0;
export const PARSE: u32 = 1;
export const OFFLOAD: u32 = 2;
export const FLOW: u32 = 3;
export const LOOKUP: u32 = 4;
export const ADMIT: u32 = 5;
export const RULE: u32 = 6;
export const ACL: u32 = 7;
export const ROUTE: u32 = 8;
export const CLAMP: u32 = 9;
export const RELAY: u32 = 10;
export const ENCAP: u32 = 11;
export const COALESCE: u32 = 12;
export const ICMP_ERROR: u32 = 13;
export const CT_LOOKUP: u32 = 14;
export const TRACK: u32 = 15;
export const ECN: u32 = 16;

/** Places left for the stages behind it when very many rules count. */
const KEPT: u32 = 32;

/** Passes on what a stage said. */
export function step(stage: u32, p: Packet, verdict: i32): i32 {
  if (isDefined(EXPLAINING)) note(stage, p, verdict, 0, 0);
  return verdict;
}

/** A stage that went over packets `from`..`to`-1 at once; those that ended before were none of its own. */
export function stepAll(stage: u32, from: u32, to: u32): void {
  if (!isDefined(EXPLAINING)) return;
  for (let i = from; i < to; i++) {
    const p = packetAt(i);
    if (p.verdict == 0) note(stage, p, 0, 0, 0);
  }
}

/** A rule was met: what it says, where it stands, and what was asked. */
export function stepRule(
  p: Packet,
  rule: u32,
  place: u32,
  near: u32,
  far: u32,
  protocol: u32,
  ports: u32,
): void {
  if (!isDefined(EXPLAINING) || load<u32>(TRACE_COUNT) >= MAX_TRACE - KEPT) return;
  note(RULE, p, 0, rule, place);
  const asked = TRACE_RECORDS + (load<u32>(TRACE_COUNT) - 1) * TRACE_SIZE + TRACE_PACKET;
  store<u32>(asked, near);
  store<u32>(asked, far, 4);
  store<u32>(asked, protocol, 8);
  store<u32>(asked, ports, 12);
}

function note(stage: u32, p: Packet, verdict: i32, what: u32, where: u32): void {
  const i = load<u32>(TRACE_COUNT);
  if (i == MAX_TRACE) return;
  store<u32>(TRACE_COUNT, i + 1);
  const at = TRACE_RECORDS + i * TRACE_SIZE;
  store<u32>(at, stage);
  store<i32>(at, verdict, 4);
  store<u32>(at, p.peer, 8);
  store<u32>(at, p.owner, 12);
  store<u32>(at, p.rule, 16);
  store<u32>(at, p.ctState, 20);
  store<u32>(at, p.length, 24);
  store<u32>(at, what, 28);
  store<u32>(at, where, 32);
  memory.copy(at + TRACE_PACKET, p.ip - ENCAP_SIZE, TRACE_BYTES);
}
