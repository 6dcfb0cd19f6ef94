/**
 * Traces a packet through this host and its core, and on through the nodes behind it. The packet is
 * not sent and not counted.
 *
 *   source here   ->  host: routeOut -> core -> path to the peer -> the nodes behind it
 *   source there  ->  the node that has the source, which does the same
 */
import { contains, parseAddress, printable } from "../address.js";
import type { Core } from "../core/instance.js";
import type { Publisher } from "../core/publish.js";
import { explainReason } from "../core/reasons.js";
import { WeftError } from "../error.js";
import { CoverageView, isSameLink, type Unseen } from "../explain/coverage.js";
import { Explainer, holderOf, onwardOf } from "../explain/explain.js";
import { type PacketWords, wordsOf } from "../explain/headers.js";
import type { HostView } from "../explain/host-view.js";
import { pathTo } from "../explain/path.js";
import { directionOf, packetFor, type Question } from "../explain/question.js";
import type { TraceOutcome } from "../explain/trace-report.js";
import type { NodeReport } from "../explain-sync/messages.js";
import { routeIn, routeOut } from "../host/forwarding.js";
import type { Explained, ExplainedThere } from "../http/view.js";
import type { Mesh } from "../mesh/mesh.js";
import type { Follower } from "./follower.js";
import type { Tables } from "./tables.js";

export interface PacketTracerParts {
  readonly core: Core;
  readonly publisher: Publisher;
  /** This node's addresses and rules. */
  readonly tables: Pick<Tables, "own" | "places">;
  /** Asks the other nodes. */
  readonly mesh: Pick<Mesh, "members" | "trace">;
  /** Tells which packets of workloads the core sees. */
  readonly follower: Pick<Follower, "lookAtWorkloads">;
}

export interface PacketTracerOptions {
  /** This node's name. */
  readonly name: string;
  /** The overlay device. */
  readonly tun: string;
}

export class PacketTracer {
  readonly #publisher: Publisher;
  readonly #tables: PacketTracerParts["tables"];
  readonly #mesh: PacketTracerParts["mesh"];
  readonly #follower: PacketTracerParts["follower"];
  readonly #options: PacketTracerOptions;
  readonly #explainer: Explainer;

  constructor(
    { core, publisher, tables, mesh, follower }: PacketTracerParts,
    options: PacketTracerOptions,
  ) {
    this.#publisher = publisher;
    this.#tables = tables;
    this.#mesh = mesh;
    this.#follower = follower;
    this.#options = options;
    this.#explainer = new Explainer(core, publisher);
  }

  /** Implements `Control.explain`. */
  async explain(question: Question, { here }: { readonly here: boolean }): Promise<Explained> {
    const { name } = this.#options;
    const packet = packetFor(question);
    const words = directionOf(question) === "out" ? wordsOf(packet) : undefined;
    const owner = words && this.#ownerOf(words.src);
    if (words && owner && owner !== name && !here) return this.#elsewhere(owner, packet, words);
    const outcome = await this.#trace(question);
    const begun = { ...outcome, ...(words && { owner: owner ?? null }) };
    const onward = here ? undefined : onwardOf(outcome);
    if (!onward) return { ...begun, further: [] };
    const { further, ...rest } = await this.#mesh.trace(onward);
    return { ...begun, further: further.map(withSentence), ...rest };
  }

  /** Name of the node that has this address: this node or a peer. */
  #ownerOf(address: string): string | undefined {
    const isOwn = this.#tables.own().leases.some((it) => contains(it, parseAddress(address)));
    if (isOwn) return this.#options.name;
    return holderOf(address, this.#publisher.peers)?.name;
  }

  /** Traces a packet that leaves the host of another node. */
  async #elsewhere(owner: string, packet: Uint8Array, words: PacketWords): Promise<Explained> {
    const { further, unasked } = await this.#mesh.trace({ to: owner, packet, leaves: true });
    const [first, ...behind] = further.map(withSentence);
    if (!first) throw notAsked(words.src, owner, unasked?.why);
    return {
      ...first,
      direction: "out",
      packet: words,
      owner,
      datagrams: [],
      packets: [],
      further: behind,
      ...(unasked && { unasked }),
    };
  }

  /** Traces a packet here for another node: as coming from this peer, or, without one, as leaving this host. */
  async traceForOther(packet: Uint8Array, peer?: string): Promise<TraceOutcome> {
    if (peer !== undefined) return this.#trace({ packet, direction: "in", peer });
    const src = wordsOf(packet)?.src;
    if (src !== undefined && this.#ownerOf(src) === this.#options.name) {
      return this.#trace({ packet, direction: "out" });
    }
    throw new WeftError("EXPLAIN", `it does not have ${src ?? "the source"}`, "ask another node");
  }

  /** Traces a packet on this host. */
  async #trace(question: Question): Promise<TraceOutcome> {
    const { tun } = this.#options;
    const packet = packetFor(question);
    const words = wordsOf(packet);
    const leaving = directionOf(question) === "out" && words;
    const { host, unseen } = leaving ? await this.#beforeWeft(leaving) : {};
    if (host && (host.to !== "weft" || unseen)) return notCarried(words!, host, unseen);
    const { places } = this.#tables;
    const { peers } = this.#publisher;
    const own = this.#tables.own();
    const explanation = this.#explainer.explain(question, { own, peers, places });
    switch (explanation.verdict) {
      case "delivered":
        return { ...explanation, ...(words && { host: await routeIn(words, tun) }) };
      case "sent":
        return { ...explanation, ...(host && { host }), ...this.#pathTo(explanation.peer) };
      default:
        return { ...explanation, ...(host && { host }) };
    }
  }

  /**
   * The host's handling of a packet that leaves it, and the reason if the core does not see it. The
   * kernel is never asked about a packet that stays on its link, whatever route it has for it.
   */
  async #beforeWeft(packet: PacketWords): Promise<{ host: HostView; unseen?: Unseen }> {
    const { isOwn, ...host } = await routeOut(packet, this.#options.tun);
    const coverage = new CoverageView(await this.#follower.lookAtWorkloads());
    const from = isOwn ? HOST : coverage.endOf(packet.src);
    const to = host.to === "local" ? HOST : coverage.endOf(packet.dst);
    const unseen = coverage.unseenBetween(from, to);
    if (host.to !== "weft") return { host, ...(unseen && { unseen }) };
    if (!unseen || from.kind !== "workload" || !isSameLink(from, to)) return { host };
    return { host: { to: "device", device: printable(from.route.device) }, unseen };
  }

  #pathTo(name: string | undefined): Pick<TraceOutcome, "path"> {
    const peer = this.#publisher.peers.find((it) => it.name === name);
    const member = this.#mesh.members().find((it) => it.name === name);
    return peer ? { path: pathTo(peer, member) } : {};
  }
}

const HOST = { kind: "host" } as const;

const notCarried = (
  packet: PacketWords,
  host: HostView,
  unseen: Unseen | undefined,
): TraceOutcome => ({
  direction: "out",
  packet,
  stages: [],
  verdict: "not-carried",
  host,
  ...(unseen && { unseen }),
  datagrams: [],
  packets: [],
});

/** @param why undefined for a static peer */
const notAsked = (src: string, owner: string, why: string | undefined): WeftError =>
  why === undefined
    ? new WeftError(
        "NOT_ASKED",
        `${src} is behind ${owner}, a static peer, which runs no agent to ask`,
        `ask the node that it sends to, with: --in --peer ${owner}`,
      )
    : new WeftError(
        "NOT_ASKED",
        `${owner} has ${src}, and was not asked: ${why}`,
        `ask on ${owner}; with --here, as if this node had ${src}`,
      );

const withSentence = (report: NodeReport): ExplainedThere => ({
  ...report,
  ...(report.reason && { sentence: explainReason(report.reason) }),
});
