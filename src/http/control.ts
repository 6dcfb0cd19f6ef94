/** Requests that only the control socket accepts: they show connections and packets, or change something. */
import { z } from "zod";
import { contains, parseAddress, parsePrefixOrAddress } from "../address.js";
import type { CaptureOptions } from "../core/capture.js";
import { WeftError } from "../error.js";
import type { Question } from "../explain/question.js";
import { CaptureLines } from "./capture-lines.js";
import type { ApplyOptions, Control, FlowRow } from "./view.js";

/** Returns the result, or a promise of it. */
type ControlAction = (control: Control, query: URLSearchParams, body: string) => unknown;

/** Bytes of the longest document, at two bytes a character. */
const MAX_DOCUMENT_BODY = 8 * 1024 * 1024;
/** Bytes of a packet of 9,216 bytes in hex, and of the other fields. */
const MAX_EXPLAIN_BODY = 64 * 1024;

/** Handlers by path, with the most bytes of a posted body: 0 if not given. */
export const CONTROLS: Readonly<
  Record<string, Readonly<{ GET?: ControlAction; POST?: ControlAction; body?: number }>>
> = {
  "/v1/forget": {
    POST: (control, query) => {
      const force = query.get("force") === "true";
      return { subnets: control.forget(query.get("name") ?? "", { force }) };
    },
  },
  "/v1/policy": {
    body: MAX_DOCUMENT_BODY,
    GET: (control) => control.policy(),
    POST: (control, query, body) => control.applyPolicy(body, applyOptions(query)),
  },
  "/v1/policy/nodes": { GET: (control) => control.policyProgress() },
  "/v1/nat": {
    body: MAX_DOCUMENT_BODY,
    GET: (control) => control.nat(),
    POST: (control, query, body) => control.applyNat(body, applyOptions(query)),
  },
  "/v1/nat/nodes": { GET: (control) => control.natProgress() },
  "/v1/flows": {
    GET: (control, query) => {
      const isAsked = (["src", "dst"] as const).map((end) => within(end, query.get(end)));
      return control.flows().filter((flow) => isAsked.every((fits) => fits(flow)));
    },
  },
  "/v1/services": { GET: (control) => control.services() },
  "/v1/capture": {
    GET: (control, query) => new CaptureLines(control.capture(captureOptions(query))),
  },
  "/v1/explain": {
    body: MAX_EXPLAIN_BODY,
    POST: (control, query, body) =>
      control.explain(readQuestion(body), { here: query.get("here") === "true" }),
  },
};

const applyOptions = (query: URLSearchParams): ApplyOptions => ({
  dryRun: query.get("dry-run") === "true",
  resetVersion: query.get("reset-version") === "true",
});

function captureOptions(query: URLSearchParams): CaptureOptions {
  const [filter, snaplen] = [query.get("filter"), query.get("snaplen")];
  return {
    dropped: query.get("dropped") === "true",
    ...(filter !== null && { filter }),
    ...(snaplen !== null && { snaplen: Number(snaplen) }),
  };
}

/** Whether an end of the flow is in this address or prefix; always true without one. */
function within(end: "src" | "dst", text: string | null): (flow: FlowRow) => boolean {
  if (text === null) return () => true;
  const prefix = parsePrefixOrAddress(text);
  return (flow) => contains(prefix, parseAddress(flow[end]));
}

const way = {
  direction: z.enum(["out", "in"]).exactOptional(),
  peer: z.string().exactOptional(),
  tos: z.int().exactOptional(),
};
const questionSchema = z.union([
  z.strictObject({ packet: z.string().regex(/^([0-9a-f]{2})+$/i), ...way }),
  z.strictObject({
    src: z.string(),
    dst: z.string(),
    protocol: z
      .union([z.enum(["icmp", "tcp", "udp", "icmpv6", "sctp"]), z.int().min(0).max(255)])
      .exactOptional(),
    sport: z.int().exactOptional(),
    dport: z.int().exactOptional(),
    icmp: z
      .strictObject({
        type: z.int().min(0).max(255),
        code: z.int().min(0).max(255).exactOptional(),
      })
      .exactOptional(),
    ...way,
  }),
]);

function readQuestion(body: string): Question {
  const question = parsed(body);
  if (!question) {
    throw new WeftError(
      "EXPLAIN",
      "neither a packet nor addresses are given",
      'send {"src": ..., "dst": ..., "protocol": ..., "dport": ...} or {"packet": HEX}',
    );
  }
  if (!("packet" in question)) return question;
  return { ...question, packet: new Uint8Array(Buffer.from(question.packet, "hex")) };
}

function parsed(body: string) {
  try {
    return questionSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}
