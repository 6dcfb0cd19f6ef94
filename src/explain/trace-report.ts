/** The part of an explanation that a node reports to another; the other node has the packet itself. */
import { z } from "zod";
import { reasonNames } from "../core/reasons.js";
import * as field from "../identity/fields.js";
import type { Place } from "../policy/place.js";
import { ACTIONS, DIRECTIONS } from "../policy/rule.js";
import { FIELDS } from "./almost.js";
import type { Unseen } from "./coverage.js";
import type { Explanation } from "./explain.js";
import { HOST_ENDS, type HostView } from "./host-view.js";
import { PATH_STATES, type PathView } from "./path.js";
import { STAGES } from "./trace.js";

/** Most rules that matched the packet at one end; the last ones are reported. */
export const MAX_REPORTED_RULES = 32;
const MAX_STEPS = 32;
const MAX_CHANGES = 32;

const words = field.line(200);
/** Name of a tier or a policy. */
const label = field.line(63);
const count = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

const place = z.strictObject({
  direction: z.enum(DIRECTIONS),
  tier: label,
  kind: z.enum(["rule", "tier default", "shadow default"]),
  action: z.enum(ACTIONS),
  isShadow: z.boolean(),
  policy: label.exactOptional(),
  index: count.exactOptional(),
  line: count.exactOptional(),
}) satisfies z.ZodType<Place>;

const reason = z.enum(reasonNames).exclude(["delivered"]);

const path = z
  .strictObject({
    state: z.enum(PATH_STATES),
    answered: z.iso.datetime().exactOptional(),
    path: z.union([z.literal("direct"), z.templateLiteral(["via ", field.name])]),
    endpoint: field.endpoint,
  })
  .refine(
    ({ state, answered }) => (state === "unknown") === (answered === undefined),
  ) satisfies z.ZodType<PathView>;

const host = z
  .strictObject({
    to: z.enum(HOST_ENDS),
    device: words.exactOptional(),
    via: words.exactOptional(),
    route: words.exactOptional(),
    why: words.exactOptional(),
  })
  .refine(
    ({ to, why }) => why !== undefined || (to !== "refused" && to !== "nowhere"),
  ) satisfies z.ZodType<HostView>;

const unseen = z.strictObject({
  why: field.sentence,
  remedy: field.sentence.exactOptional(),
}) satisfies z.ZodType<Unseen>;

/** The fate of a packet at one node: in weft, and before or after that in its host. */
export interface TraceOutcome extends Omit<Explanation, "verdict" | "counter"> {
  /** `not-carried`: the host does not route the packet to weft. */
  readonly verdict: Explanation["verdict"] | "not-carried";
  /** Absent when weft does not have the packet. */
  readonly counter?: string;
  /** The host's handling of a packet that leaves it, or is delivered to it. */
  readonly host?: HostView;
  /** For `not-carried`: the reason why no core sees such packets, where weft knows it. */
  readonly unseen?: Unseen;
  /** The path of the packets sent. */
  readonly path?: PathView;
}

export const traceReportSchema = z.strictObject({
  stages: z
    .array(
      z.strictObject({
        stage: z.enum(STAGES).exclude(["rule"]),
        saw: words,
        verdict: z.union([z.literal("goes on"), reason]),
        changes: z
          .array(z.strictObject({ field: words, from: words.exactOptional(), to: words }))
          .max(MAX_CHANGES),
        rules: z.array(place).max(MAX_REPORTED_RULES).exactOptional(),
      }),
    )
    .max(MAX_STEPS),
  verdict: z.enum(["sent", "delivered", "answered", "dropped", "not-carried"]),
  reason: reason.exactOptional(),
  rule: place.exactOptional(),
  almost: z.strictObject({ rule: place, field: z.enum(FIELDS) }).exactOptional(),
  counter: words.exactOptional(),
  peer: words.exactOptional(),
  host: host.exactOptional(),
  unseen: unseen.exactOptional(),
  path: path.exactOptional(),
});

export type TraceReport = z.infer<typeof traceReportSchema>;

export function traceReportOf(tried: TraceOutcome): TraceReport {
  const { stages, verdict, reason, rule, almost, counter, peer, host, unseen, path } = tried;
  return traceReportSchema.parse({
    stages: stages.map((step) =>
      step.rules ? { ...step, rules: step.rules.slice(-MAX_REPORTED_RULES) } : step,
    ),
    verdict,
    ...(reason && { reason }),
    ...(rule && { rule }),
    ...(almost && { almost }),
    ...(counter !== undefined && { counter }),
    ...(peer !== undefined && { peer }),
    ...(host && { host }),
    ...(unseen && { unseen }),
    ...(path && { path }),
  });
}
