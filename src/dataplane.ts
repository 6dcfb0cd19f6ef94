/**
 * The dataplane to embed: the agent's core, synchronous and in memory, without root, devices or
 * timers. Time passes only by `advance`.
 */
import {
  firstHost,
  formatAddress,
  formatMac,
  formatPrefix,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "./address.js";
import type { ThisNode } from "./compile/compiler.js";
import { type NatRules, NO_NAT } from "./compile/nat-rules.js";
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
  type Profile,
  readFlows,
  setProfile,
} from "./core/flows.js";
import { Core } from "./core/instance.js";
import { type Outcome, PacketRunner } from "./core/packet-runner.js";
import { Publisher, type PublisherState } from "./core/publish.js";
import { coreVersion, readState, writeState } from "./core/snapshot.js";
import { WeftError } from "./error.js";
import { Explainer, type Explanation } from "./explain/explain.js";
import type { Question } from "./explain/question.js";
import { type NatDocument, readNat } from "./nat/document.js";
import { natRulesOf } from "./nat/rules.js";
import { type ServiceView, servicesOf } from "./nat/services.js";
import type { Peer } from "./peer.js";
import { type PolicyDocument, readPolicy } from "./policy/document.js";
import { ruleNumbersOf } from "./policy/rule-numbers.js";
import { NO_RULES, type Place, type PolicyRules, rulesOf, rulesWith } from "./policy/rules.js";
import {
  contradicts,
  decodeSnapshot,
  encodeSnapshot,
  type HostState,
  type Identity,
  orContradicts,
  refuseImpossible,
} from "./snapshot.js";
import { type Dscp, MAX_DSCP } from "./tos.js";

export interface DataplaneOptions {
  /** VXLAN network identifier, 1 to 16,777,215. */
  vni: number;
  /** This node's VTEP MAC address. */
  mac: string;
  /** The largest inner packet in bytes, 576 (1280 with IPv6 leases) to 65,465. */
  mtu: number;
  /** This node's overlay address, the source of its ICMP errors. */
  address: string;
  /**
   * The prefixes that this node receives packets for. ICMP errors of the other family than
   * `address` come from the first host of the first prefix of that family.
   */
  leases: readonly string[];
  /** The endpoint at which peers reach this node, `ip:port`. */
  underlay: string;
  /** The name of this node in policies, as in `node:NAME`. */
  name?: string;
  /** Flow records, a power of two from 64 to 1,048,576 (default 65,536). A connection takes two. */
  flows?: number;
  /** Whether allowed TCP connections are picked up midstream. Default true. */
  pickUp?: boolean;
  /**
   * Whether workloads of this node reach each other and the outside through `fromDevice`: such a packet
   * is judged by the policy and given back to the device. Default false.
   */
  throughCore?: boolean;
  /** DSCP of outer headers, 0 to 63, or "inherit" for that of the inner packet. Default 0. */
  dscp?: Dscp;
}

/** A live connection. Its rule is a place as in `counters().rules`. */
export type FlowView = CoreFlowView<Place>;
/** A running capture. */
export type Capture = CoreCapture<Place>;
/** A captured packet as it came, and its outcome. */
export type CapturedPacket = CoreCapturedPacket<Place>;

/** Counters of a policy rule, and its place in the document. */
export type RuleCounter = Place & RuleTraffic;

export interface DataplaneCounters extends Counters {
  /** Every rule in force, also with counts of 0. */
  rules: RuleCounter[];
}

/** The policy in force. */
interface Policy {
  readonly text: string;
  readonly document: PolicyDocument;
}

interface Nat {
  readonly text: string;
  readonly document: NatDocument;
}

const MAX_VNI = 0xffffff;
/**
 * MTUs in bytes: the least that every host takes (RFC 791), the least of an IPv6 link (RFC 8200),
 * and 65,535 less all headers around an inner packet.
 */
const MIN_MTU = 576;
const MIN_MTU_6 = 1280;
const MAX_MTU = 65_465;

export class Dataplane {
  readonly #own: ThisNode;
  readonly #options: DataplaneOptions;
  // Replaced together by `restore`.
  #core: Core;
  #publisher: Publisher;
  #runner: PacketRunner;
  #explainer: Explainer;
  #peers: readonly Peer[] = [];
  #policy: Policy | undefined;
  #rules: PolicyRules = NO_RULES;
  #nat: Nat | undefined;
  #natRules: NatRules = NO_NAT;
  #now = 0;

  private constructor(core: Core, own: ThisNode, options: DataplaneOptions) {
    this.#own = own;
    this.#options = structuredClone(options);
    this.#core = core;
    this.#publisher = this.#publisherOf(core);
    this.#publisher.publish(own, [], NO_RULES);
    this.#runner = new PacketRunner(core);
    this.#explainer = new Explainer(core, this.#publisher);
  }

  /** @throws WeftError when an option is invalid */
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
   * Replaces all peers.
   * @throws WeftError when they contradict each other; then nothing has changed
   */
  setPeers(peers: readonly Peer[]): void {
    this.#publish(peers, this.#policy);
  }

  /**
   * Replaces the policy: YAML or JSON text, or the value of parsed JSON (docs/policy.md). Live flows
   * are re-evaluated.
   * @throws WeftError naming the line when it is invalid; then the previous policy stays in force
   */
  setPolicy(policy: string | object): void {
    const text = typeof policy === "string" ? policy : JSON.stringify(policy, null, 2);
    const document = readPolicy(text, "policy", this.#policy?.document);
    this.#publish(this.#peers, { text, document });
  }

  /**
   * Replaces the translation of addresses: YAML or JSON text, or the value of parsed JSON
   * (docs/nat.md). A connection continues if the new document would still translate it as before; other
   * ones of TCP end.
   * @returns the RSTs for both ends of connections that end
   * @throws WeftError naming the line when it is invalid; then the previous document stays in force
   */
  setNat(nat: string | object): Pick<Outcome, "datagrams" | "packets"> {
    const text = typeof nat === "string" ? nat : JSON.stringify(nat, null, 2);
    this.#publish(this.#peers, this.#policy, { text, document: readNat(text, "nat") });
    return this.#runner.resetGone();
  }

  /** The services and published ports of this node, and the use of their backends. */
  services(): ServiceView[] {
    return servicesOf(this.#natRules, this.flows());
  }

  /** Processes an IP packet that this host sends into the overlay. */
  fromDevice(packet: Uint8Array): Outcome {
    return this.#runner.fromDevice(packet);
  }

  /**
   * Processes a datagram that came in on the VXLAN port. `from` is its source `ip:port`, `tos` the
   * TOS or traffic class of its outer header, whose congestion marks are copied to the inner packet
   * (RFC 6040). A packet for another peer is relayed with new outer headers.
   */
  fromWire(datagram: Uint8Array, from: string, { tos = 0 }: { tos?: number } = {}): Outcome {
    checkRange("tos", tos, 0, 255);
    return this.#runner.fromWire(datagram, parseEndpoint(from), tos);
  }

  /** Counts of packets by direction and outcome, and of each policy rule. */
  counters(): DataplaneCounters {
    const places = [...this.#rules.places];
    const traffic = this.#publisher.ruleTraffic(places.map(([number]) => number));
    return {
      ...readCounters(this.#core),
      rules: places.map(([, place], i) => ({ ...place, ...traffic[i]! })),
    };
  }

  /**
   * Explains a packet's way through the stages and the rule that decides. The same core processes
   * it on a copy of its memory, so nothing changes.
   * @throws WeftError EXPLAIN when there can be no such packet
   */
  explain(question: Question): Explanation {
    return this.#explainer.explain(question, {
      own: this.#own,
      peers: this.#peers,
      places: this.#rules.places,
    });
  }

  /**
   * Captures packets as they come, with their outcomes, until it is stopped. Packets that are not
   * read in time are counted as lost.
   * @throws WeftError CAPTURE_BUSY when a capture runs already, CAPTURE when an option is invalid
   */
  capture(options: CaptureOptions = {}): Capture {
    return CoreCapture.start(this.#core, options, {
      peer: (place) => this.#publisher.nameAt(place),
      rule: (number) => this.#rules.places.get(number),
      epoch: () => 0,
    });
  }

  /** Traffic counters of the peer of this name. */
  traffic(peer: string): PeerTraffic | undefined {
    return this.#publisher.traffic(peer);
  }

  /** Names of the peers to which packets were sent since the last call. */
  active(): string[] {
    return this.#publisher.active();
  }

  /** The live connections, each with the place of the rule that allowed it. */
  flows(): FlowView[] {
    return readFlows(this.#core, (number, generation) =>
      this.#publisher.isSameRule(number, generation) ? this.#rules.places.get(number) : undefined,
    );
  }

  /** Advances the clock and expires idle flows. */
  advance(milliseconds: number): void {
    checkRange("milliseconds", milliseconds, 0, Number.MAX_SAFE_INTEGER - this.#now);
    this.#now += milliseconds;
    this.#core.setClock(this.#now);
    this.#core.exports.expireAll();
  }

  /**
   * The whole state, to continue from: clock, counters, flows, peers, policy. It holds the secret key
   * of the hash of flows: keep it like one. A running capture is not part of it.
   */
  snapshot(): Uint8Array {
    const host: HostState = {
      version: coreVersion(this.#core),
      own: this.#identity,
      peers: this.#peers,
      policy: this.#policy?.text ?? null,
      nat: this.#nat?.text ?? null,
      rules: ruleNumbersOf(this.#rules),
      numbers: this.#publisher.state,
    };
    return encodeSnapshot({ host, ...readState(this.#core) });
  }

  /**
   * Continues from a snapshot: every packet has the outcome that it would have had there. The snapshot
   * must come from a dataplane with the same options and from the same version of weft.
   * @throws WeftError SNAPSHOT when it is damaged, or of another node or version; CAPTURE_BUSY while a
   * capture runs. Then nothing has changed.
   */
  restore(snapshot: Uint8Array): void {
    CoreCapture.refuseRunning(this.#core);
    const version = coreVersion(this.#core);
    const { host, ...state } = decodeSnapshot(snapshot, { version, own: this.#identity });
    refuseImpossible(host, this.#core.layout);
    const core = Core.like(this.#core, this.#options);
    const publisher = this.#publisherOf(core, host.numbers);
    const { policy, nat, rules, natRules } = orContradicts(() =>
      this.#publishAgain(publisher, host),
    );
    const { generation } = host.numbers;
    const hasPeer = (place: number) => publisher.nameAt(place) !== undefined;
    if (!writeState(core, state, { generation, hasPeer })) throw contradicts();
    setProfile(core, profileOf(policy, nat));

    this.#core = core;
    this.#publisher = publisher;
    this.#runner = new PacketRunner(core);
    this.#explainer = new Explainer(core, publisher);
    this.#peers = host.peers;
    this.#policy = policy;
    this.#rules = rules;
    this.#nat = nat;
    this.#natRules = natRules;
    this.#now = core.view.getFloat64(core.layout.CLOCK, true);
  }

  #publishAgain(publisher: Publisher, { peers, rules: numbers, ...texts }: HostState) {
    const [policy, nat] = [policyIn(texts.policy), natIn(texts.nat)];
    const rules = this.#rulesOf(peers, policy, rulesWith(numbers));
    if (rules.fresh.length > 0) throw contradicts();
    const natRules = this.#natRulesOf(peers, nat);
    publisher.publish(this.#own, peers, rules, natRules);
    return { policy, nat, rules, natRules };
  }

  /** The options that packets depend on. */
  get #identity(): Identity {
    const { vni, mac, mtu, leases, dscp } = this.#own;
    const {
      address,
      name = null,
      flows = DEFAULT_FLOWS,
      pickUp = true,
      throughCore = false,
    } = this.#options;
    return {
      ...{ vni, mac: formatMac(mac), mtu, leases: leases.map(formatPrefix), dscp: dscp ?? 0 },
      ...{ address: formatAddress(parseAddress(address)), name, flows, pickUp, throughCore },
    };
  }

  #publisherOf(core: Core, before?: PublisherState): Publisher {
    const publisher = new Publisher(core, [], before);
    const address = parseAddress(this.#options.address);
    const other = this.#own.leases.find(({ family }) => family !== address.family);
    publisher.setAddress(address);
    if (other) publisher.setAddress(firstHost(other));
    return publisher;
  }

  #publish(peers: readonly Peer[], policy: Policy | undefined, nat = this.#nat): void {
    const rules = this.#rulesOf(peers, policy, this.#rules);
    const natRules = this.#natRulesOf(peers, nat);
    this.#publisher.publish(this.#own, peers, rules, natRules);
    setProfile(this.#core, profileOf(policy, nat));
    this.#peers = structuredClone(peers);
    this.#policy = policy;
    this.#rules = rules;
    this.#nat = nat;
    this.#natRules = natRules;
  }

  #natRulesOf(peers: readonly Peer[], nat: Nat | undefined): NatRules {
    if (!nat) return NO_NAT;
    const name = this.#options.name ?? "";
    const members = this.#members(peers).set(name, [...this.#own.leases]);
    return natRulesOf(nat.document, members, name, () => true);
  }

  #rulesOf(peers: readonly Peer[], policy: Policy | undefined, before: PolicyRules): PolicyRules {
    if (!policy) return NO_RULES;
    return rulesOf(policy.document, this.#members(peers), this.#own.leases, before);
  }

  #members(peers: readonly Peer[]): Map<string, Prefix[]> {
    const members = new Map(peers.map(({ name, leases }) => [name, leases.map(parsePrefix)]));
    const { name } = this.#options;
    if (name !== undefined) members.set(name, [...this.#own.leases]);
    return members;
  }
}

const policyIn = (text: string | null): Policy | undefined =>
  text === null ? undefined : { text, document: readPolicy(text, "policy") };

const natIn = (text: string | null): Nat | undefined =>
  text === null ? undefined : { text, document: readNat(text, "nat") };

const profileOf = (policy: Policy | undefined, nat: Nat | undefined): Profile =>
  nat?.document.profile ?? policy?.document.profile ?? "rfc";

function checkRange(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new WeftError(
      "OPTION",
      `${name} is ${value}`,
      `give a whole number from ${least} to ${most}`,
    );
  }
}
