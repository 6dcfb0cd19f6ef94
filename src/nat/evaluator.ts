/**
 * The translations of a connection's first packet, as far as the document and the leases tell: which
 * backends it may get, and which outside address. The core chooses among them by a hash.
 */
import {
  type Address,
  bits,
  contains,
  type Endpoint,
  firstHost,
  formatAddress,
  formatEndpoint,
  formatPrefix,
  isSameAddress,
  type Prefix,
} from "../address.js";
import { hairpinAddress } from "../compile/hairpin.js";
import type { ServiceRule } from "../compile/nat-rules.js";
import type { Members } from "../policy/resolver.js";
import type { NatDocument } from "./document.js";
import { Owners, owns, ownsAll } from "./owners.js";
import { natRulesOf } from "./rules.js";

export interface NatPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly port: number;
}

/** One way that the packet may go. */
export interface NatWay {
  /** As the packet arrives. */
  readonly destination: Endpoint;
  /** An address, or the prefix of a pool. */
  readonly source: string;
  /** The entries that translate, in order: `service web`, `snat 0`, `return traffic`. */
  readonly by: readonly string[];
  /** The gateway that it leaves by. */
  readonly via?: string;
}

/** Every way that it may go, or the reason why it goes none. */
export type NatOutcome = readonly NatWay[] | "no-backend" | "no-gateway";

/** The way so far. */
interface Way {
  readonly packet: NatPacket;
  readonly by: readonly string[];
}

export class NatEvaluator {
  readonly #document: NatDocument;
  readonly #members: Members;
  readonly #owners: Owners;

  constructor(document: NatDocument, members: Members) {
    this.#document = document;
    this.#members = members;
    this.#owners = new Owners(members);
  }

  /** The node that owns the address. */
  ownerOf(address: Address): string | undefined {
    return this.#owners.of(address);
  }

  /** @param node where the packet comes from the device */
  evaluate(packet: NatPacket, node: string): NatOutcome {
    const ways = this.#destinations({ packet, by: [] }, node);
    if (ways.length === 0) return "no-backend";
    const ends: NatWay[] = [];
    for (const way of ways) {
      const owner = this.#owners.of(way.packet.destination);
      const first = this.#source(way, packet, node, owner);
      if (!first) return "no-gateway";
      if (owner === undefined || owner === node) ends.push(first);
      else ends.push(...this.#arrivals(first, way, owner));
    }
    return ends.length === 0 ? "no-backend" : ends;
  }

  /** At the node of its destination: a published port or a netmap may lead it on. */
  #arrivals(first: NatWay, { packet }: Way, node: string): NatWay[] {
    return this.#destinations({ packet, by: first.by }, node).map((way) => {
      const destination = endpointOf(way.packet);
      const owner = this.#owners.of(destination.address);
      const isLedOn = way.by.at(-1)?.startsWith("port ") && owner !== node && owner !== undefined;
      const own = isLedOn ? this.#ownAddress(node, destination.address) : undefined;
      if (!own) return { ...first, destination, by: way.by };
      return { destination, source: formatAddress(own), by: [...way.by, "return traffic"] };
    });
  }

  /** None where a service has no backend for new flows. */
  #destinations({ packet, by }: Way, node: string): Way[] {
    const { services } = natRulesOf(this.#document, this.#members, node, () => true);
    const service = services.find((one) => isFor(one, packet));
    if (service) {
      const name = `${service.isPort ? "port" : "service"} ${service.name}`;
      return service.backends
        .filter(({ isActive }) => isActive)
        .map(({ address, port }) => ({
          packet: { ...packet, destination: address, port },
          by: [...by, name],
        }));
    }
    const own = this.#members.get(node) ?? [];
    const { netmap } = this.#document;
    const i = netmap.findIndex(({ to }) => ownsAll(own, to) && contains(to, packet.destination));
    const rule = netmap[i];
    if (!rule) return [{ packet, by }];
    const destination = mapped(packet.destination, rule.from);
    return [{ packet: { ...packet, destination }, by: [...by, `netmap ${i}`] }];
  }

  /** The source with which it leaves the node; undefined if no gateway lives. */
  #source(
    way: Way,
    asItCame: NatPacket,
    node: string,
    owner: string | undefined,
  ): NatWay | undefined {
    const { netmap, egress, snat, masquerade } = this.#document;
    const own = this.#members.get(node) ?? [];
    const i = netmap.findIndex(
      ({ from, to }) => ownsAll(own, to) && contains(from, asItCame.source),
    );
    const source = i < 0 ? asItCame.source : mapped(asItCame.source, netmap[i]!.to);
    const by = i < 0 ? way.by : [...way.by, `netmap ${i}`];
    const { destination } = way.packet;
    const end = (text: string, name?: string): NatWay => ({
      destination: endpointOf(way.packet),
      source: text,
      by: name === undefined ? by : [...by, name],
    });
    const isFrom = (prefixes: readonly Prefix[], address: Address) =>
      prefixes.some((prefix) => contains(prefix, address));
    if (owner === undefined) {
      const e = egress.findIndex(
        ({ from, to }) => isFrom(from, asItCame.source) && isFrom(to, destination),
      );
      const rule = egress[e];
      const via = rule?.via.find((name) => this.#members.has(name));
      if (rule && via === undefined) return undefined;
      if (rule) return { ...end(formatAddress(rule.address), `egress ${e}`), via: via! };
    }
    // A rule covers the destination that the packet came with, too.
    const isTo = (to: Prefix) => contains(to, destination) || contains(to, asItCame.destination);
    const s = snat.findIndex(
      ({ from, to, addresses }) => ownsAll(own, addresses) && contains(from, source) && isTo(to),
    );
    if (s >= 0) return end(poolOf(snat[s]!.addresses), `snat ${s}`);
    const ownAddress = this.#ownAddress(node, source);
    const m = masquerade.findIndex(({ from, to }) => contains(from, source) && isTo(to));
    if (m >= 0 && ownAddress) return end(formatAddress(ownAddress), `masquerade ${m}`);
    const isReplaced = way.by.some((name) => !name.startsWith("netmap"));
    // Replies between these would go around the core, also with --through-core.
    const isNode = (address: Address) =>
      ownAddress !== undefined && isSameAddress(address, ownAddress);
    const isAround = isSameAddress(source, destination) || isNode(source) || isNode(destination);
    const hairpin = isReplaced && owner === node && isAround && hairpinAddress(source.family, own);
    if (hairpin) return end(formatAddress(hairpin), "hairpin");
    const isToPeer = owner !== undefined && owner !== node;
    if (isReplaced && isToPeer && !owns(own, asItCame.source) && ownAddress) {
      return end(formatAddress(ownAddress), "return traffic");
    }
    return end(formatAddress(source));
  }

  #ownAddress(node: string, { family }: Address): Address | undefined {
    const lease = this.#members.get(node)?.find((one) => one.family === family);
    return lease && firstHost(lease);
  }
}

const isFor = (service: ServiceRule, { protocol, destination, port }: NatPacket): boolean =>
  service.protocol === protocol &&
  service.port === port &&
  isSameAddress(service.address, destination);

const endpointOf = ({ destination, port }: NatPacket): Endpoint => ({ address: destination, port });

/** The address with the same host bits in another prefix. */
function mapped({ family, value }: Address, { base, length }: Prefix): Address {
  const hosts = (1n << BigInt(bits(family) - length)) - 1n;
  return { family, value: base | (value & hosts) };
}

const poolOf = (prefix: Prefix): string =>
  prefix.length === bits(prefix.family)
    ? formatAddress({ family: prefix.family, value: prefix.base })
    : formatPrefix(prefix);

/** `10.244.1.5:8080 from 10.244.1.1 by service web, return traffic` */
export const wayInWords = ({ destination, source, by, via }: NatWay): string =>
  [
    formatEndpoint(destination),
    `from ${source}`,
    by.length > 0 ? `by ${by.join(", ")}` : "untranslated",
    ...(via === undefined ? [] : [`via ${via}`]),
  ].join(" ");
