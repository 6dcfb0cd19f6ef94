/**
 * The trace of a packet through the stages, for `explain` (src/explain/explain.ts). The core is built
 * twice from this source: in build/explain.wasm, with EXPLAINING defined, every stage leaves a record;
 * build/core.wasm contains no tracing.
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

@unmanaged
export class TraceRecord {
  stage: u32;
  /** 0, or a reason, with ANSWERED if an ICMP error is due. */
  verdict: i32;
  peer: u32;
  owner: u32;
  /** The number of the rule that decided. */
  rule: u32;
  ctState: u32;
  length: u32;
  /** For a rule that matched: its action and number, and its bit. */
  matched: u32;
  place: u32;
}

/** The header that a rule was matched against, in place of the packet. */
@unmanaged
class Asked {
  /** Classes of the two addresses. */
  near: u32;
  far: u32;
  protocol: u32;
  /** Source port above destination port. */
  ports: u32;
}

// Offsets for the host.
export const TRACE_STAGE: usize = offsetof<TraceRecord>("stage");
export const TRACE_VERDICT: usize = offsetof<TraceRecord>("verdict");
export const TRACE_PEER: usize = offsetof<TraceRecord>("peer");
export const TRACE_OWNER: usize = offsetof<TraceRecord>("owner");
export const TRACE_RULE: usize = offsetof<TraceRecord>("rule");
export const TRACE_CT_STATE: usize = offsetof<TraceRecord>("ctState");
export const TRACE_LENGTH: usize = offsetof<TraceRecord>("length");
export const TRACE_MATCHED: usize = offsetof<TraceRecord>("matched");
export const TRACE_PLACE: usize = offsetof<TraceRecord>("place");
export const ASKED_NEAR: usize = offsetof<Asked>("near");
export const ASKED_FAR: usize = offsetof<Asked>("far");
export const ASKED_PROTOCOL: usize = offsetof<Asked>("protocol");
export const ASKED_PORTS: usize = offsetof<Asked>("ports");

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
export const DNAT: u32 = 17;
export const SNAT: u32 = 18;
export const TRANSLATE: u32 = 19;
export const HAIRPIN: u32 = 20;

/** Records reserved for the stages behind `acl`, however many rules only count. */
const RESERVED: u32 = 32;

/** Records the result of a stage and returns it. */
export function traced(stage: u32, p: Packet, verdict: i32): i32 {
  if (isDefined(EXPLAINING)) note(stage, p, verdict, 0, 0);
  return verdict;
}

/** Records a stage that handles packets `from`..`to`-1 at once, except packets that ended before. */
export function tracedAll(stage: u32, from: u32, to: u32): void {
  if (!isDefined(EXPLAINING)) return;
  for (let i = from; i < to; i++) {
    const p = packetAt(i);
    if (p.verdict == 0) note(stage, p, 0, 0, 0);
  }
}

/** Records a rule that matched: its action and number, its bit, and the header. */
export function tracedRule(
  p: Packet,
  rule: u32,
  place: u32,
  near: u32,
  far: u32,
  protocol: u32,
  ports: u32,
): void {
  if (!isDefined(EXPLAINING) || load<u32>(TRACE_COUNT) >= MAX_TRACE - RESERVED) return;
  note(RULE, p, 0, rule, place);
  const last = TRACE_RECORDS + (load<u32>(TRACE_COUNT) - 1) * TRACE_SIZE;
  const asked = changetype<Asked>(last + TRACE_PACKET);
  asked.near = near;
  asked.far = far;
  asked.protocol = protocol;
  asked.ports = ports;
}

function note(stage: u32, p: Packet, verdict: i32, matched: u32, place: u32): void {
  const i = load<u32>(TRACE_COUNT);
  if (i == MAX_TRACE) return;
  store<u32>(TRACE_COUNT, i + 1);
  const at = TRACE_RECORDS + i * TRACE_SIZE;
  const record = changetype<TraceRecord>(at);
  record.stage = stage;
  record.verdict = verdict;
  record.peer = p.peer;
  record.owner = p.owner;
  record.rule = p.rule;
  record.ctState = p.ctState;
  record.length = p.length;
  record.matched = matched;
  record.place = place;
  memory.copy(at + TRACE_PACKET, p.ip - ENCAP_SIZE, TRACE_BYTES);
}
