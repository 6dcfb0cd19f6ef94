/**
 * The dataplane to embed: the very core the agent runs, synchronous and in
 * memory. No root, no device, no timer: time moves by `advance`.
 */
import {
  firstHost,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "./address.js";
import type { ThisNode } from "./compile/compiler.js";
import {
  type CaptureOptions,
  Capture as CoreCapture,
  type CapturedPacket as CoreCapturedPacket,
} from "./core/capture.js";
import {
  type Counters,
  type PeerTraffic,
  type RuleTraffic,
  readCounters,
} from "./core/counters.js";
import {
  type FlowView as CoreFlowView,
  checkFlows,
  DEFAULT_FLOWS,
  readFlows,
  setProfile,
} from "./core/flows.js";
import { Core } from "./core/instance.js";
import { type Outcome, PacketRunner } from "./core/packet-runner.js";
import { Publisher } from "./core/publish.js";
import { WeftError } from "./error.js";
import { Explainer, type Explanation } from "./explain/explain.js";
import type { Question } from "./explain/question.js";
import type { Peer } from "./peer.js";
import { type PolicyDocument, readPolicy } from "./policy/document.js";
import type { Members } from "./policy/resolver.js";
import { NO_RULES, type Place, type PolicyRules, rulesOf } from "./policy/rules.js";
import { type Dscp, MAX_DSCP } from "./tos.js";

export interface DataplaneOptions {
  /** VXLAN network identifier, 1 to 16,777,215. */
  vni: number;
  /** This node's VTEP MAC address. */
  mac: string;
  /** The largest inner packet, bytes, 576 (1280 with IPv6 leases) to 65,465. */
  mtu: number;
  /** This node's overlay address: ICMP answers come from it. */
  address: string;
  /**
   * The prefixes this node may receive for. ICMP answers of the family that
   * `address` is not of come from the first host of the first such prefix.
   */
  leases: readonly string[];
  /** Where peers reach this node, `ip:port`. */
  underlay: string;
  /** What policies call this node, as in `node:NAME`. */
  name?: string;
  /** Records of flows, a power of two from 64 to 1,048,576 (default 65,536); a connection takes two. */
  flows?: number;
  /** May a TCP connection that a policy allows be taken up in its middle? By default it may. */
  pickUp?: boolean;
  /** DSCP of outer headers, 0 to 63, or "inherit": that of the packet inside. Default 0. */
  dscp?: Dscp;
}

/** A connection; its rule as `counters().rules` has it. */
export type FlowView = CoreFlowView<Place>;
/** A capture under way. */
export type Capture = CoreCapture<Place>;
/** A packet as it came, and its outcome. */
export type CapturedPacket = CoreCapturedPacket<Place>;

/** Counters of a rule of the policy, and its place in the document. */
export type RuleCounter = Place & RuleTraffic;

export interface DataplaneCounters extends Counters {
  /** Every rule in force, those that met nothing included. */
  rules: RuleCounter[];
}

const MAX_VNI = 0xffffff;
/**
 * Bytes: what every host takes (RFC 791), what every IPv6 link takes (RFC 8200),
 * and what is left of 65,535 with all headers around it.
 */
const MIN_MTU = 576;
const MIN_MTU_6 = 1280;
const MAX_MTU = 65_465;

export class Dataplane {
  readonly #core: Core;
  readonly #publisher: Publisher;
  readonly #runner: PacketRunner;
  readonly #explainer: Explainer;
  readonly #own: ThisNode;
  readonly #name: string | undefined;
  #peers: readonly Peer[] = [];
  #policy: PolicyDocument | undefined;
  #rules: PolicyRules = NO_RULES;
  #now = 0;

  private constructor(core: Core, own: ThisNode, options: DataplaneOptions) {
    this.#core = core;
    this.#own = own;
    this.#name = options.name;
    this.#publisher = new Publisher(core);
    const address = parseAddress(options.address);
    const other = own.leases.find(({ family }) => family !== address.family);
    this.#publisher.setAddress(address);
    if (other) this.#publisher.setAddress(firstHost(other));
    this.#publisher.publish(own, []);
    this.#runner = new PacketRunner(core);
    this.#explainer = new Explainer(core, this.#publisher);
  }

  /** @throws WeftError when an option cannot be */
  static async create(options: DataplaneOptions): Promise<Dataplane> {
    checkRange("vni", options.vni, 1, MAX_VNI);
    const leases: Prefix[] = options.leases.map(parsePrefix);
    const hasIPv6 = leases.some(({ family }) => family === 6);
    checkRange("mtu", options.mtu, hasIPv6 ? MIN_MTU_6 : MIN_MTU, MAX_MTU);
    parseEndpoint(options.underlay);
    const { vni, mtu, dscp = 0 } = options;
    if (dscp !== "inherit") checkRange("dscp", dscp, 0, MAX_DSCP);
    const own = { vni, mac: parseMac(options.mac), mtu, leases, dscp };
    checkFlows(options.flows ?? DEFAULT_FLOWS);
    return new Dataplane(await Core.create(options), own, options);
  }

  /** The largest inner packet, in bytes. */
  get mtu(): number {
    return this.#own.mtu;
  }

  /**
   * The peers from now on; those not named are forgotten.
   * @throws WeftError when they contradict each other; then nothing has changed
   */
  setPeers(peers: readonly Peer[]): void {
    this.#publish(peers, this.#policy);
  }

  /**
   * The policy from now on, YAML or JSON text or what JSON.parse would make of it
   * (docs/policy.md). Live flows are judged again by it.
   * @throws WeftError naming the line when it cannot be; then what was in force stays in force
   */
  setPolicy(policy: string | object): void {
    const text = typeof policy === "string" ? policy : JSON.stringify(policy, null, 2);
    const document = readPolicy(text, "policy", this.#policy);
    this.#publish(this.#peers, document);
    setProfile(this.#core, document.profile);
  }

  /** Takes an IP packet, as this host would send it into the overlay. */
  fromDevice(packet: Uint8Array): Outcome {
    return this.#runner.fromDevice(packet);
  }

  /**
   * Takes a datagram that came in on the VXLAN port, `from` an `ip:port`. `tos` is the TOS or traffic
   * class of its outer header: congestion marks there go into the packet (RFC 6040). A packet
   * for another peer is relayed: sent on in new headers.
   */
  fromWire(datagram: Uint8Array, from: string, { tos = 0 }: { tos?: number } = {}): Outcome {
    checkRange("tos", tos, 0, 255);
    return this.#runner.fromWire(datagram, parseEndpoint(from), tos);
  }

  /** How packets ended, by direction, and what the rules of the policy met. */
  counters(): DataplaneCounters {
    const places = [...this.#rules.places];
    const traffic = this.#publisher.ruleTraffic(places.map(([number]) => number));
    return {
      ...readCounters(this.#core),
      rules: places.map(([, place], i) => ({ ...place, ...traffic[i]! })),
    };
  }

  /**
   * What would become of a packet, stage by stage, and which rule decides: the same
   * core does it on a copy of its memory, so nothing comes of it.
   * @throws WeftError EXPLAIN when no such packet can be
   */
  explain(question: Question): Explanation {
    return this.#explainer.explain(question, {
      own: this.#own,
      peers: this.#peers,
      places: this.#rules.places,
    });
  }

  /**
   * Keeps the packets from now on, as they came and with what became of them, until it is
   * stopped; what is not taken out in time is counted as lost.
   * @throws WeftError CAPTURE_BUSY when one is under way, CAPTURE when the options cannot be
   */
  capture(options: CaptureOptions = {}): Capture {
    return CoreCapture.start(this.#core, options, {
      peer: (place) => this.#publisher.nameAt(place),
      rule: (number) => this.#rules.places.get(number),
      epoch: () => 0,
    });
  }

  /** What went to and came from a peer, by name. */
  traffic(peer: string): PeerTraffic | undefined {
    return this.#publisher.traffic(peer);
  }

  /** Names of the peers to which packets went since this was asked last. */
  active(): string[] {
    return this.#publisher.active();
  }

  /** The live connections, and the place of the rule that allowed each. */
  flows(): FlowView[] {
    return readFlows(this.#core, (number, generation) =>
      this.#publisher.isSameRule(number, generation) ? this.#rules.places.get(number) : undefined,
    );
  }

  /** Lets time pass. */
  advance(milliseconds: number): void {
    checkRange("milliseconds", milliseconds, 0, Number.MAX_SAFE_INTEGER - this.#now);
    this.#now += milliseconds;
    this.#core.setClock(this.#now);
    this.#core.exports.expireAll();
  }

  #publish(peers: readonly Peer[], policy: PolicyDocument | undefined): void {
    const { leases } = this.#own;
    const rules = policy ? rulesOf(policy, this.#members(peers), leases, this.#rules) : this.#rules;
    this.#publisher.publish(this.#own, peers, rules);
    this.#peers = structuredClone(peers);
    this.#policy = policy;
    this.#rules = rules;
  }

  #members(peers: readonly Peer[]): Members {
    const members = new Map(peers.map(({ name, leases }) => [name, leases.map(parsePrefix)]));
    if (this.#name !== undefined) members.set(this.#name, [...this.#own.leases]);
    return members;
  }
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new WeftError(
      "OPTION",
      `${name} is ${value}`,
      `give a whole number from ${least} to ${most}`,
    );
  }
}
