/** What the stages left in a trace: `assembly/trace.ts` draws a record, and numbers the stages in this order. */
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
] as const;

export type Stage = (typeof STAGES)[number];

export interface TraceRecord {
  readonly stage: Stage;
  /** 0, or a reason, perhaps with ANSWERED. */
  readonly verdict: number;
  /** Places in the table of peers. */
  readonly peer: number;
  readonly owner: number;
  /** The number of the rule that decided. */
  readonly rule: number;
  /** Its flow is known, and what was decided for it holds. */
  readonly hasFlow: boolean;
  /** From ENCAP_SIZE before the IP header on, as much as the record holds. */
  readonly bytes: Uint8Array;
  /** Of stage `rule`. */
  readonly met: MetRule;
}

/** A rule that was met, and what had been asked. */
export interface MetRule {
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
  const word = (n: number) => view.getUint32(at + 4 * n, true);
  const packet = at + layout.TRACE_PACKET;
  const length = Math.min(layout.ENCAP_SIZE + word(6), layout.TRACE_BYTES);
  const asked = (n: number) => view.getUint32(packet + 4 * n, true);
  return {
    stage: STAGES[word(0)]!,
    verdict: view.getInt32(at + 4, true),
    peer: word(2),
    owner: word(3),
    rule: word(4),
    hasFlow: word(5) === layout.CT_ESTABLISHED,
    bytes: bytes.slice(packet, packet + Math.max(0, length)),
    met: {
      number: word(7) & 0xffffff,
      direction: (word(8) >>> layout.ACL_RULE_BITS) as 0 | 1,
      bit: word(8) & (layout.ACL_MAX_RULES - 1),
      near: asked(0),
      far: asked(1),
      protocol: asked(2),
      sourcePort: asked(3) >>> 16,
      destinationPort: asked(3) & 0xffff,
    },
  };
}
