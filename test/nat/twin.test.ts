/** The core and its slow twin agree on random packets through every kind of translation. */
import { expect, it } from "vitest";
import { random, seedOfRun, TCP } from "../packets.js";
import { rounds } from "../rounds.js";
import { icmpError } from "./errors.js";
import { NatNode } from "./node.js";
import type { Oracle, Packet } from "./oracle.js";
import { readError } from "./site.js";
import { ECHO, isIcmp, type PacketFields, packetOf, reverse, SCTP, show } from "./tuple.js";
import { DOCUMENT, Traffic } from "./world.js";

const PACKETS = rounds(20_000, 100_000);
const seed = seedOfRun("translation");

const [SYN, ACK] = [2, 16];
/** Sequence numbers of the end that opened, and of the other. */
const [FIRST, SECOND] = [100, 500];

/** A segment that fits the state of its connection. */
function segment(oracle: Oracle, packet: Packet): PacketFields {
  const found = oracle.find(packet);
  if (packet.tuple.protocol !== TCP) return {};
  if (!found) return { flags: SYN, sequence: FIRST };
  const { connection, isReply } = found;
  if (!isReply) {
    return connection.turns === 0
      ? { flags: SYN, sequence: FIRST }
      : { flags: ACK, sequence: FIRST + 1, acknowledgment: SECOND + 1 };
  }
  return connection.turns < 2
    ? { flags: SYN | ACK, sequence: SECOND, acknowledgment: FIRST + 1 }
    : { flags: ACK, sequence: SECOND + 1, acknowledgment: FIRST + 1 };
}

/** The next packet of a connection that is known, of either direction. */
function ofKnown(oracle: Oracle, traffic: Traffic): Packet | undefined {
  const { connections } = oracle;
  if (connections.length === 0) return undefined;
  const { came, from, goes, to } = traffic.pick(connections);
  return traffic.chance(0.4) ? { tuple: came, from } : { tuple: reverse(goes), from: to };
}

/** A stranger's packet to the outside port of a mapping. */
function toMapping(oracle: Oracle, traffic: Traffic): Packet | undefined {
  if (oracle.mappings.length === 0) return undefined;
  const { protocol, outside } = traffic.pick(oracle.mappings);
  const isIPv6 = outside.address.includes(":");
  const isOutside = /^192|^2001/.test(outside.address) && traffic.chance(0.7);
  const strangers = isOutside
    ? ["198.51.100.9", "2001:db8:9::9"]
    : ["10.244.2.99", "fd00:0:0:2::99"];
  const dport = isIcmp(protocol) ? ECHO : outside.port;
  const tuple = {
    protocol,
    src: strangers[Number(isIPv6)]!,
    sport: 9,
    dst: outside.address,
    dport,
  };
  return { tuple, from: isOutside ? "device" : "wire" };
}

/** Has an end of a connection report an error about a packet of the other; returns what is wrong with the outcome. */
function faultOfError(node: NatNode, oracle: Oracle, traffic: Traffic): string | undefined {
  const { connections } = oracle;
  if (connections.length === 0) return undefined;
  const { came, from, goes, to } = traffic.pick(connections);
  const isBack = traffic.chance(0.5);
  const [sent, known] = isBack ? [goes, came] : [reverse(came), reverse(goes)];
  const [side, out] = isBack ? [to, from] : [from, to];
  const about = packetOf(sent, { data: new Uint8Array(16) });
  // The CRC of SCTP is not adjusted in a quoted packet.
  const headers = sent.src.includes(":") ? 40 : 20;
  const length = sent.protocol === SCTP ? headers + 8 : about.length;
  const error = icmpError(about, { src: sent.dst, dst: sent.src, length });
  const result = node.send(side, error);
  if ("drop" in result) return `an error about ${show(sent)} was dropped: ${result.drop}`;
  const { src, dst, quoted } = readError(result.bytes!);
  const isRight =
    show(quoted) === show(known) && src === known.dst && dst === known.src && result.to === out;
  return isRight ? undefined : `an error about ${show(sent)} tells ${dst} of ${show(quoted)}`;
}

it.each(["rfc", "linux"] as const)(
  `agree on ${PACKETS} packets, profile %s`,
  { timeout: 600_000 },
  async (profile) => {
    const node = await NatNode.create({ ...DOCUMENT, profile });
    const oracle = node.oracle();
    const traffic = new Traffic(random(seed));
    const data = new Uint8Array(64).map(() => traffic.below(256));
    const seen = new Map<string, number>();
    for (let i = 0; i < PACKETS; i++) {
      const packet =
        (traffic.chance(0.5) ? ofKnown(oracle, traffic) : undefined) ??
        (traffic.chance(0.05) ? toMapping(oracle, traffic) : undefined) ??
        traffic.opening();
      const bytes = packetOf(packet.tuple, {
        data: data.subarray(0, traffic.below(64)),
        ...segment(oracle, packet),
      });
      const result = node.send(packet.from, bytes);
      const fault = oracle.check(packet, result);
      if (fault) throw new Error(`packet ${i}: ${fault}`);
      const kind = "drop" in result ? result.drop : `${packet.from} to ${result.to}`;
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      if (traffic.chance(0.1)) {
        const flaw = faultOfError(node, oracle, traffic);
        if (flaw) throw new Error(`after packet ${i}: ${flaw}`);
      }
      if (traffic.chance(0.02)) {
        const time = traffic.pick([1, 1000, 10_000, 31_000, 61_000, 121_000]);
        node.dataplane.advance(time);
        oracle.advance(time);
      }
    }
    const wanted = ["device to wire", "device to device", "wire to device", "wire to wire"];
    const dropped = ["no-backend", "not-translatable", "nat-exhausted", "no-route"];
    expect([...seen.keys()]).toEqual(expect.arrayContaining([...wanted, ...dropped]));
  },
);
