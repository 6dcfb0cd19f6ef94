/**
 * Explains the fate of a packet: the core's own code runs on a copy of its memory, each stage leaves
 * a record there, and this file puts the records into words.
 */
import {
  contains,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "../address.js";
import { THIS_NODE, type ThisNode } from "../compile/compiler.js";
import { type Counters, readCounters } from "../core/counters.js";
import type { Core } from "../core/instance.js";
import type { Outcome } from "../core/packet-runner.js";
import type { Publisher } from "../core/publish.js";
import {
  ANSWERED,
  explainReason,
  type Reason,
  reasonNames,
  reasonNumber,
} from "../core/reasons.js";
import type { Peer } from "../peer.js";
import type { Place } from "../policy/rules.js";
import { almost, type Field } from "./almost.js";
import { CoreCopy } from "./core-copy.js";
import {
  changesBetween,
  type HeaderChange,
  inWords,
  type PacketWords,
  tunnelOf,
  wordsOf,
} from "./headers.js";
import { directionOf, packetFor, type Question, wrong } from "./question.js";
import { type MatchedRule, readTrace, type Stage, type TraceRecord } from "./trace.js";

/** The effect of one stage. */
export interface Step {
  readonly stage: Exclude<Stage, "rule">;
  /** The observation of the stage, in words. */
  readonly saw: string;
  readonly verdict: "goes on" | Reason;
  /** Changes of header fields. */
  readonly changes: readonly HeaderChange[];
  /** For `acl`: the rules that matched, in order; the last one may have decided. */
  readonly rules?: readonly Place[];
}

export interface Explanation {
  readonly direction: "out" | "in";
  /** Set for a packet with a complete IP header. */
  readonly packet?: PacketWords;
  readonly stages: readonly Step[];
  readonly verdict: Outcome["verdict"];
  readonly reason?: Reason;
  /** The reason as a sentence. */
  readonly sentence?: string;
  /** The rule that decided. */
  readonly rule?: Place;
  /** Set when no rule allows the packet: the rule that nearly does, and the field that differs. */
  readonly almost?: { readonly rule: Place; readonly field: Field };
  /** The counter it would increment, by its path in the counters: `out.answeredBy.denied-egress`. */
  readonly counter: string;
  /** The peer it would go to, or came from. */
  readonly peer?: string;
  readonly datagrams: Outcome["datagrams"];
  readonly packets: Outcome["packets"];
}

/** The facts that the core does not have. */
export interface ExplainContext {
  readonly own: ThisNode;
  readonly peers: readonly Peer[];
  /** Rules by their number. */
  readonly places: ReadonlyMap<number, Place>;
}

export class Explainer {
  readonly #core: Core;
  readonly #publisher: Publisher;
  #copy: CoreCopy | undefined;

  constructor(core: Core, publisher: Publisher) {
    this.#core = core;
    this.#publisher = publisher;
  }

  /** @throws WeftError EXPLAIN for a packet that cannot exist */
  explain(question: Question, surroundings: ExplainContext): Explanation {
    const packet = packetFor(question);
    const direction = directionOf(question);
    const sender = direction === "in" ? senderOf(question, packet, surroundings) : undefined;
    const { MAX_PACKET } = this.#core.layout;
    if (packet.length > MAX_PACKET) {
      throw wrong(`a packet of ${packet.length} bytes cannot be`, `give ${MAX_PACKET} at most`);
    }
    const { tos = 0 } = question;
    if (!Number.isInteger(tos) || tos < 0 || tos > 255) {
      throw wrong(`a TOS of ${tos} cannot be`, "give a whole number up to 255");
    }
    this.#copy ??= new CoreCopy(this.#core, this.#publisher);
    const { core, runner } = this.#copy;
    this.#copy.refresh();
    const before = readCounters(core);
    const outcome = sender
      ? runner.fromWire(
          datagramFrom(sender, packet, surroundings),
          parseEndpoint(from(sender)),
          tos,
        )
      : runner.fromDevice(packet);
    const records = readTrace(core);
    const words = wordsOf(packet);
    const nameOf = (place: number) => this.#publisher.nameAt(place);
    const { rule, nearly } = decided(core, records, surroundings.places);
    const peer = nameOf(records.at(-1)?.peer ?? 0);
    return {
      direction,
      ...(words && { packet: words }),
      stages: new StepWriter(packet, outcome, sender, surroundings.places, nameOf).steps(records),
      ...outcome,
      ...(outcome.reason && { sentence: explainReason(outcome.reason) }),
      ...(rule && { rule }),
      ...(nearly && { almost: nearly }),
      counter: counterBetween(before, readCounters(core)),
      ...(peer !== undefined && { peer }),
    };
  }
}

interface Onwards extends Pick<Explanation, "peer" | "datagrams"> {
  readonly verdict: string;
}

/** The packet that leaves, from its IP header on, and the peer that holds its destination. */
export function onwardOf({
  verdict,
  peer,
  datagrams: [first],
}: Onwards): { readonly to: string; readonly packet: Uint8Array } | undefined {
  if (verdict !== "sent" || peer === undefined || !first) return undefined;
  return { to: peer, packet: first.bytes.subarray(ENCAP_SIZE) };
}

/** The rule that decided; for a default, also the rule that nearly allowed the packet. */
function decided(core: Core, records: readonly TraceRecord[], places: ExplainContext["places"]) {
  const number = records.findLast(({ rule }) => rule !== 0)?.rule;
  const rule = number === undefined ? undefined : places.get(number);
  if (rule?.kind !== "tier default") return { rule };
  const matched = records.findLast(
    ({ stage, matched }) => stage === "rule" && matched.number === number,
  )?.matched;
  const near = matched && almost(core, matched);
  const place = near && places.get(near.number);
  return { rule, nearly: place && { rule: place, field: near.field } };
}

function senderOf({ peer }: Question, packet: Uint8Array, { peers }: ExplainContext): Peer {
  const src = wordsOf(packet)?.src;
  const sender =
    peer === undefined
      ? src !== undefined && holderOf(src, peers)
      : peers.find(({ name }) => name === peer);
  if (sender) return sender;
  if (peer !== undefined) throw wrong(`no peer is named "${peer}"`, "name one of `weft peers`");
  throw wrong(`no peer holds the source ${src}`, "name the peer that it comes from");
}

/** The peer that has this address. */
export function holderOf(address: string, peers: readonly Peer[]): Peer | undefined {
  const wanted = parseAddress(address);
  return peers.find(({ leases }) => leases.some((it) => contains(parsePrefix(it), wanted)));
}

/** Source endpoint of the peer's packets; while none is known, the endpoint in its record. */
const from = ({ endpoint, senders = [] }: Peer): string => senders[0] ?? endpoint;

/** Builds the datagram that the peer would send. */
function datagramFrom({ mac }: Peer, packet: Uint8Array, { own }: ExplainContext): Uint8Array {
  const header = Buffer.alloc(22);
  header[0] = 0x08;
  header.writeUInt32BE(own.vni * 256, 4);
  header.set(own.mac, 8);
  header.set(parseMac(mac), 14);
  header.writeUInt16BE(packet[0]! >> 4 === 6 ? 0x86dd : 0x0800, 20);
  return new Uint8Array(Buffer.concat([header, packet]));
}

/** The one counter that is higher by one afterwards. */
function counterBetween(before: Counters, after: Counters): string {
  for (const direction of ["out", "in"] as const) {
    const [was, is] = [before[direction], after[direction]];
    if (is.delivered > was.delivered) return `${direction}.delivered`;
    for (const outcome of ["answeredBy", "dropped"] as const) {
      for (const [reason, count] of Object.entries(is[outcome])) {
        if (count > (was[outcome][reason as Reason] ?? 0)) {
          return `${direction}.${outcome}.${reason}`;
        }
      }
    }
  }
  return "in.control";
}

/** Puts the records of the stages into words. */
class StepWriter {
  readonly #outcome: Outcome;
  readonly #sender: Peer | undefined;
  readonly #places: ExplainContext["places"];
  readonly #nameOf: (place: number) => string | undefined;
  readonly #length: number;
  #packet: Uint8Array;
  #matched: MatchedRule[] = [];

  constructor(
    packet: Uint8Array,
    outcome: Outcome,
    sender: Peer | undefined,
    places: ExplainContext["places"],
    nameOf: (place: number) => string | undefined,
  ) {
    this.#packet = packet;
    this.#length = packet.length;
    this.#outcome = outcome;
    this.#sender = sender;
    this.#places = places;
    this.#nameOf = nameOf;
  }

  steps(records: readonly TraceRecord[]): Step[] {
    const steps: Step[] = [];
    for (const record of records) {
      const { stage, matched } = record;
      if (stage === "rule") this.#matched.push(matched);
      else steps.push(this.#step(record, stage));
    }
    const isTranslated = steps.some((step) => step.stage === "translate" && isEffect(step));
    return steps.filter((step) => !NAT.includes(step.stage) || isTranslated || isEffect(step));
  }

  #step(record: TraceRecord, stage: Step["stage"]): Step {
    const packet = record.bytes.subarray(ENCAP_SIZE, ENCAP_SIZE + this.#length);
    const changes = changesBetween(this.#packet, packet);
    this.#packet = packet;
    const reason = record.verdict & ~ANSWERED;
    const step = {
      stage,
      saw: this.#saw(record, stage, changes),
      verdict: reason === 0 ? "goes on" : reasonNames[reason]!,
      changes: stage === "encap" ? [...changes, ...this.#tunnel()] : changes,
    } as const;
    if (stage !== "acl") return step;
    const rules = this.#matched.flatMap(({ number }) => this.#places.get(number) ?? []);
    this.#matched = [];
    return { ...step, rules };
  }

  #saw(record: TraceRecord, stage: Step["stage"], changes: readonly HeaderChange[]): string {
    switch (stage) {
      case "decap":
        return `a datagram from ${formatEndpoint(parseEndpoint(from(this.#sender!)))}`;
      case "parse":
        return inWords(wordsOf(this.#packet));
      case "offload":
        return "a single packet, complete";
      case "flow":
        return record.hasFlow ? "a known flow" : "no known flow";
      case "lookup":
        return this.#sender
          ? `the source belongs to ${this.#ownerName(record.peer)}, the destination to ${this.#ownerName(record.owner)}`
          : `the destination belongs to ${this.#ownerName(record.owner)}`;
      case "admit":
        return `it comes from ${this.#ownerName(record.peer)}`;
      case "ecn":
        return changes.length > 0 || record.verdict !== 0
          ? "a congestion mark on the outer header"
          : "no congestion mark to copy";
      case "acl":
        return this.#aclSaw(record);
      case "route":
      case "relay":
        return `the path to ${this.#ownerName(record.peer)}`;
      case "clamp":
        return changes.length > 0
          ? "segments larger than the path takes"
          : "no segment size to lower";
      case "encap":
        return `${this.#outcome.datagrams.length} for ${this.#outcome.datagrams[0]?.to ?? "no peer"}`;
      case "coalesce":
        return "one for the device";
      case "ct-lookup":
        return record.hasFlow ? "its flow is known" : "no known flow";
      case "track":
        return record.hasFlow ? "its connection is followed" : "no connection to follow";
      case "dnat":
        return `its destination belongs to ${this.#ownerName(record.owner)}`;
      case "snat":
        return "its source, as the other side sees it";
      case "translate":
        return "a translated connection";
      case "hairpin":
        return "one back to the device: this host has it or routes it on";
      case "icmp-error":
        return record.verdict & ANSWERED ? "an ICMP error is due" : "no answer is due";
    }
  }

  #aclSaw({ hasFlow, verdict }: TraceRecord): string {
    if (verdict === POLICY_UNKNOWN)
      return "no rules yet: it is not known whether there is a policy or a translation document";
    const count = this.#matched.length;
    if (count > 0) return `${count === 1 ? "a rule" : `${count} rules`} matched`;
    return hasFlow ? "no rule needed: its flow was allowed" : "no rule matches";
  }

  #tunnel(): HeaderChange[] {
    const first = this.#outcome.datagrams[0];
    return first ? tunnelOf(first.bytes) : [];
  }

  #ownerName(place: number): string {
    if (place === NO_PEER) return "no peer";
    if (place === THIS_NODE) return "this node";
    return this.#nameOf(place) ?? "a peer that is gone";
  }
}

/** Stages that are mentioned only where a packet is translated, or ends there. */
const NAT: readonly Stage[] = ["dnat", "snat", "translate"];

const isEffect = ({ verdict, changes }: Step): boolean =>
  verdict !== "goes on" || changes.length > 0;

const ENCAP_SIZE = 22;
const NO_PEER = 0;
const POLICY_UNKNOWN = reasonNumber("policy-unknown");
