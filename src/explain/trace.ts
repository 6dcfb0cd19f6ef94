/** Reads the records that stages leave in a trace. `assembly/trace.ts` draws a record, and numbers the stages in this order. */
import type { Core } from "../core/instance.js";

export const STAGES = [
  "decap",
  "parse",
  "offload",
  "flow",
  "lookup",
  "admit",
  "rule",
  "acl",
  "route",
  "clamp",
  "relay",
  "encap",
  "coalesce",
  "icmp-error",
  "ct-lookup",
  "track",
  "ecn",
  "dnat",
  "snat",
  "translate",
  "hairpin",
] as const;

export type Stage = (typeof STAGES)[number];

export interface TraceRecord {
  readonly stage: Stage;
  /** 0, or a reason, with ANSWERED added if an ICMP error is due. */
  readonly verdict: number;
  /** Positions in the table of peers. */
  readonly peer: number;
  readonly owner: number;
  /** The number of the rule that decided. */
  readonly rule: number;
  /** Whether its flow is known and the earlier decision still holds. */
  readonly hasFlow: boolean;
  /** Bytes from ENCAP_SIZE before the IP header on, as many as the record holds. */
  readonly bytes: Uint8Array;
  /** Set for stage `rule`. */
  readonly matched: MatchedRule;
}

/** A rule that matched, and the fields it was matched against. */
export interface MatchedRule {
  readonly number: number;
  readonly direction: 0 | 1;
  readonly bit: number;
  readonly near: number;
  readonly far: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export function readTrace(core: Core): TraceRecord[] {
  const { view, layout } = core;
  const count = view.getUint32(layout.TRACE_COUNT, true);
  return Array.from({ length: count }, (_, i) => read(core, i));
}

function read({ view, bytes, layout }: Core, i: number): TraceRecord {
  const at = layout.TRACE_RECORDS + i * layout.TRACE_SIZE;
  const word = (field: number) => view.getUint32(at + field, true);
  const packet = at + layout.TRACE_PACKET;
  const length = Math.min(layout.ENCAP_SIZE + word(layout.TRACE_LENGTH), layout.TRACE_BYTES);
  const asked = (field: number) => view.getUint32(packet + field, true);
  return {
    stage: STAGES[word(layout.TRACE_STAGE)]!,
    verdict: view.getInt32(at + layout.TRACE_VERDICT, true),
    peer: word(layout.TRACE_PEER),
    owner: word(layout.TRACE_OWNER),
    rule: word(layout.TRACE_RULE),
    hasFlow: word(layout.TRACE_CT_STATE) === layout.CT_ESTABLISHED,
    bytes: bytes.slice(packet, packet + Math.max(0, length)),
    matched: {
      number: word(layout.TRACE_MATCHED) & 0xffffff,
      direction: (word(layout.TRACE_PLACE) >>> layout.ACL_RULE_BITS) as 0 | 1,
      bit: word(layout.TRACE_PLACE) & (layout.ACL_MAX_RULES - 1),
      near: asked(layout.ASKED_NEAR),
      far: asked(layout.ASKED_FAR),
      protocol: asked(layout.ASKED_PROTOCOL),
      sourcePort: asked(layout.ASKED_PORTS) >>> 16,
      destinationPort: asked(layout.ASKED_PORTS) & 0xffff,
    },
  };
}
