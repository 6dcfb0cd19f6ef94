/** Path MTU: errors of this host's own interface are believed, ICMP errors only under conditions. */
import { beforeEach, describe, expect, it } from "vitest";
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVERR,
  MMSGHDR_CONTROLLEN,
} from "../../src/linux.js";
import type { Peer } from "../../src/peer.js";
import { ipv4, ipv6, udp } from "../packets.js";
import { A, B, C, Host, hostOf, MTU, read } from "./host.js";

const TEN_MINUTES = 600_000;
const EMSGSIZE = 90;
const ECONNREFUSED = 111;
const ERROR_4 = [IPPROTO_IP, IP_RECVERR] as const;
const ERROR_6 = [IPPROTO_IPV6, IPV6_RECVERR] as const;
/** SO_EE_ORIGIN_LOCAL, _ICMP, _ICMP6. */
const LOCAL = 1;
const ICMP = 2;
const ICMP6 = 3;

/** At the same address as B, behind another port. */
const D: Peer = {
  name: "d",
  endpoint: "192.0.2.2:4790",
  mac: "02:00:00:00:00:04",
  leases: ["10.244.4.0/24", "fd00:0:0:4::/64"],
};

let host: Host;
beforeEach(async () => {
  host = await Host.create({ peers: [B, C, D] });
});

const mtuOf = (peer: Peer) => host.publisher.pathMtu(peer.name, MTU);
const mtus = () => [B, C, D].map(mtuOf);

/** The largest packet that still goes out whole: found by trying. */
function largestTo(peer: Peer): number {
  const [src, dst] = [hostOf(A), hostOf(peer)];
  const fits = (length: number) => {
    const payload = udp(src, dst, new Uint8Array(length - 28));
    return host.send([read(ipv4({ src, dst, df: true, payload }))]).sent.length === 1;
  };
  let [yes, no] = [28, MTU + 1];
  while (no - yes > 1) {
    const middle = (yes + no) >> 1;
    if (fits(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}

interface Control {
  kind?: readonly [number, number];
  errno?: number;
  mtu?: number;
  origin?: number;
  /** What cmsg_len says. */
  said?: number;
}

function control(given: Control): Buffer {
  const { kind = ERROR_4, errno = EMSGSIZE, mtu = 0, origin = LOCAL, said = 48 } = given;
  // cmsghdr 16, sock_extended_err 16, the offender's address 16.
  const bytes = Buffer.alloc(48);
  bytes.writeUInt32LE(said, 0);
  bytes.writeUInt32LE(kind[0], CMSG_LEVEL);
  bytes.writeUInt32LE(kind[1], CMSG_TYPE);
  bytes.writeUInt32LE(errno, CMSG_DATA);
  bytes.writeUInt8(origin, CMSG_DATA + 4);
  bytes.writeUInt32LE(mtu, CMSG_DATA + 8);
  return bytes;
}

/** As recvmsg(MSG_ERRQUEUE) leaves it, `length` bytes of control data; `quote` is how the datagram's payload began. */
function hear(
  to: string | undefined,
  controls: readonly Control[],
  length?: number,
  quote: Uint8Array = new Uint8Array(0),
): void {
  const { layout, core } = host;
  core.exports.prepareError();
  if (to) host.writeName(layout.ERROR_NAME, to);
  const bytes = Buffer.concat(controls.map(control));
  core.bytes.set(bytes.subarray(0, layout.ERROR_CONTROL_SIZE), layout.ERROR_CONTROL);
  const controlLength = layout.ERROR_MESSAGE + MMSGHDR_CONTROLLEN;
  core.view.setBigUint64(controlLength, BigInt(length ?? bytes.length), true);
  core.bytes.set(quote.subarray(0, layout.ERROR_QUOTE_SIZE), layout.ERROR_QUOTE);
  core.exports.beginBatch();
  core.exports.noteError();
  core.exports.finishBatch(layout.OUT);
}

const hear4 = (mtu: number, to = B.endpoint) => hear(to, [{ mtu }]);
const hear6 = (mtu: number, to = C.endpoint) => hear(to, [{ kind: ERROR_6, mtu }]);

describe("path MTU, as this host's own interface says", () => {
  it("lowers that of all peers at that address and no others, and the host can read it", () => {
    hear4(1400);
    expect(mtus()).toEqual([1350, MTU, 1350]);
    expect([B, C, D].map(largestTo)).toEqual([1350, MTU, 1350]);
    hear6(1400);
    expect(mtus()).toEqual([1350, 1330, 1350]);
    expect(largestTo(C)).toBe(1330);
  });

  it("does not ask from which port the datagram went", () => {
    hear4(1400, "192.0.2.2:1");
    expect(mtus()).toEqual([1350, MTU, 1350]);
  });

  it("is reported to senders: fragmentation needed, packet too big", () => {
    hear4(1400);
    const payload = new Uint8Array(1380);
    const [src, dst] = [hostOf(A), hostOf(B)];
    const packet = ipv4({ src, dst, protocol: 253, df: true, payload });
    expect(Buffer.from(host.send([read(packet)]).written[0]!).readUInt16BE(10 + 26)).toBe(1350);
    const [src6, dst6] = [hostOf(A, 6), hostOf(B, 6)];
    const packet6 = ipv6({ src: src6, dst: dst6, protocol: 253, payload });
    expect(Buffer.from(host.send([read(packet6)]).written[0]!).readUInt32BE(10 + 44)).toBe(1350);
  });

  it.each<[string, number, number]>([
    ["1", 1, 526],
    ["the least a link may have (RFC 791)", 68, 526],
    ["just below the floor", 575, 526],
    ["the floor", 576, 526],
    ["just above it", 577, 527],
  ])("never falls below a floor, whatever is said: %s", (_, mtu, wanted) => {
    hear4(mtu);
    expect([mtuOf(B), largestTo(B)]).toEqual([wanted, wanted]);
  });

  it.each([1, 68, 1279, 1280])("has IPv6's own floor: %i", (mtu) => {
    hear6(mtu);
    expect([mtuOf(C), largestTo(C)]).toEqual([1210, 1210]);
  });

  it.each([0, 1500, 9000, 65535, 2 ** 31, 2 ** 32 - 1])(
    "is not raised, nor lowered, by %i",
    (mtu) => {
      hear4(mtu);
      hear6(mtu === 1500 ? 1520 : mtu);
      expect(mtus()).toEqual([MTU, MTU, MTU]);
      expect([B, C].map(largestTo)).toEqual([MTU, MTU]);
    },
  );

  it("is not raised by a later, larger report (RFC 8201, 4)", () => {
    hear4(1000);
    hear4(1300);
    expect([mtuOf(B), largestTo(B)]).toEqual([950, 950]);
    hear4(900);
    expect([mtuOf(B), largestTo(B)]).toEqual([850, 850]);
  });

  it("expires after ten minutes, and can be learned again", () => {
    host.core.setClock(5000);
    hear4(1400);
    host.core.setClock(5000 + TEN_MINUTES - 1);
    expect([mtuOf(B), largestTo(B)]).toEqual([1350, 1350]);
    host.core.setClock(5000 + TEN_MINUTES);
    expect([mtuOf(B), largestTo(B)]).toEqual([MTU, MTU]);
    // An old, lower word does not stand in the way of a new one.
    hear4(1450);
    expect([mtuOf(B), largestTo(B)]).toEqual([1400, 1400]);
  });

  it.each<[string, string | undefined, readonly Control[], number | undefined]>([
    ["of an address that is no peer's", "192.0.2.77:4789", [{ mtu: 1000 }], undefined],
    ["of no address", undefined, [{ mtu: 1000 }], undefined],
    ["with another error", B.endpoint, [{ mtu: 1000, errno: ECONNREFUSED }], undefined],
    ["of another level", B.endpoint, [{ mtu: 1000, kind: [1, 11] }], undefined],
    ["of another type", B.endpoint, [{ mtu: 1000, kind: [0, 8] }], undefined],
    ["without control data", B.endpoint, [{ mtu: 1000 }], 0],
    ["cut in the header", B.endpoint, [{ mtu: 1000 }], 15],
    ["cut in the error", B.endpoint, [{ mtu: 1000 }], 31],
    ["behind one of length 0", B.endpoint, [{ said: 0, errno: 0 }, { mtu: 1000 }], undefined],
    ["behind one of length 15", B.endpoint, [{ said: 15, errno: 0 }, { mtu: 1000 }], undefined],
    ["behind one past the end", B.endpoint, [{ said: 97, errno: 0 }, { mtu: 1000 }], undefined],
    [
      "behind one of 4 GiB",
      B.endpoint,
      [{ said: 2 ** 32 - 1, errno: 0 }, { mtu: 1000 }],
      undefined,
    ],
    [
      "behind one that leads back",
      B.endpoint,
      [{ said: 2 ** 32 - 48, errno: 0 }, { mtu: 1000 }],
      undefined,
    ],
  ])("hears nothing from a message %s", (_, to, controls, length) => {
    hear(to, controls, length);
    expect(mtus()).toEqual([MTU, MTU, MTU]);
  });

  it("finds the error behind another control message", () => {
    hear(B.endpoint, [{ kind: [0, 8], said: 44 }, { mtu: 1000 }]);
    expect(mtuOf(B)).toBe(950);
  });

  it("reads no further than its room, whatever length is said", () => {
    hear(B.endpoint, [{ errno: 0 }, { mtu: 1000 }], 2 ** 32 - 1);
    expect(mtuOf(B)).toBe(950);
  });

  it("is not inherited by a peer that takes a forgotten one's place", () => {
    hear4(1000);
    host.setPeers([C, D]);
    const E = { ...B, name: "e" };
    host.setPeers([C, D, E]);
    expect([mtuOf(E), largestTo(E)]).toEqual([MTU, MTU]);
    expect(mtuOf(D)).toBe(950);
  });

  it("stays with a peer when others come and go", () => {
    hear4(1000);
    host.setPeers([B]);
    expect([mtuOf(B), largestTo(B)]).toEqual([950, 950]);
  });
});

/** How the payload of a datagram to this peer begins. */
function sentTo(peer: Peer): Uint8Array {
  const [src, dst] = [hostOf(A), hostOf(peer)];
  return host.send([read(ipv4({ src, dst, payload: udp(src, dst, new Uint8Array(8)) }))]).sent[0]!
    .bytes;
}

const icmp4 = (mtu: number, quote?: Uint8Array) =>
  hear(B.endpoint, [{ mtu, origin: ICMP }], undefined, quote);

describe("an ICMP report about a path that probes verify", () => {
  const [VERIFIED_B, VERIFIED_D] = [
    { ...B, mtu: MTU },
    { ...D, mtu: MTU },
  ];
  beforeEach(() => host.setPeers([VERIFIED_B, C, VERIFIED_D]));

  it("changes nothing, whatever it quotes, and is a hint about every peer at that address", () => {
    const quote = sentTo(B);
    icmp4(576);
    icmp4(576, quote);
    expect(mtus()).toEqual([MTU, MTU, MTU]);
    expect([B, C, D].map(largestTo)).toEqual([MTU, MTU, MTU]);
    expect(host.publisher.hinted()).toEqual(["b", "d"]);
    expect(["b", "c", "d"].map((name) => host.publisher.takeHint(name))).toEqual([
      526,
      undefined,
      526,
    ]);
  });

  it("appears once until it is taken; of several hints the smallest stays", () => {
    for (let mtu = 1499; mtu >= 1000; mtu--) icmp4(mtu);
    for (let i = 0; i < 100_000; i++) icmp4(1000 + (i % 500));
    expect(host.publisher.hinted()).toEqual(["b", "d"]);
    icmp4(1400);
    icmp4(900);
    expect(host.publisher.hinted()).toEqual([]);
    expect(host.publisher.takeHint("b")).toBe(850);
    expect(host.publisher.takeHint("b")).toBe(undefined);
    icmp4(1400);
    expect(host.publisher.hinted()).toEqual(["b"]);
    expect(host.publisher.takeHint("b")).toBe(1350);
  });

  it.each([1500, 1501, 9000, 65_535, 2 ** 32 - 1])("is no hint when it says %i", (mtu) => {
    icmp4(mtu);
    expect(host.publisher.hinted()).toEqual([]);
  });

  it("is kept for the maximum number of peers, around the ring and again", () => {
    const count = host.layout.MAX_PEERS - 2;
    const peers = Array.from({ length: count }, (_, i) => ({
      name: `p${i}`,
      endpoint: `10.9.${i >> 8}.${i & 255}:4789`,
      mac: `02:00:00:01:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`,
      leases: [],
      mtu: MTU,
    }));
    host.setPeers(peers);
    for (let round = 0; round < 3; round++) {
      for (const { endpoint } of peers) hear(endpoint, [{ mtu: 1400, origin: ICMP }]);
      expect(host.publisher.hinted()).toEqual(peers.map(({ name }) => name));
      for (const { name } of peers) expect(host.publisher.takeHint(name)).toBe(1350);
    }
  });

  it("is not inherited by a peer that takes a forgotten one's place", () => {
    icmp4(1000);
    host.setPeers([C]);
    host.setPeers([C, { ...VERIFIED_B, name: "e" }]);
    expect(host.publisher.takeHint("e")).toBe(undefined);
  });

  it("is no hint when it comes from another kind of error", () => {
    hear(B.endpoint, [{ mtu: 1000, origin: ICMP, errno: ECONNREFUSED }]);
    expect(host.publisher.hinted()).toEqual([]);
  });

  it("has IPv6's own floor: 1280 bytes", () => {
    host.setPeers([{ ...C, mtu: MTU }]);
    hear(C.endpoint, [{ kind: ERROR_6, mtu: 68, origin: ICMP6 }]);
    expect(host.publisher.takeHint("c")).toBe(1210);
  });
});

describe("what ICMP says of a peer that answers no probes", () => {
  it("is believed where it quotes the headers sent to that peer, of either family", () => {
    const quote = sentTo(B);
    icmp4(1400, quote);
    expect(mtus()).toEqual([1350, MTU, MTU]);
    const quote6 = quote.slice();
    quote6.set([0x86, 0xdd], 20);
    icmp4(1300, quote6);
    expect([mtuOf(B), largestTo(B)]).toEqual([1250, 1250]);
    expect(host.publisher.hinted()).toEqual([]);
  });

  it("is not believed where it quotes less, or anything else", () => {
    const quote = sentTo(B);
    icmp4(576);
    icmp4(576, sentTo(C));
    icmp4(576, quote.subarray(0, 19));
    for (let at = 0; at < 20; at++) {
      const other = quote.slice();
      other[at]! ^= 1;
      icmp4(576, other);
    }
    expect(mtus()).toEqual([MTU, MTU, MTU]);
  });

  it("does not make up for a short quote with what an earlier error quoted", () => {
    icmp4(1400, sentTo(B));
    icmp4(576);
    expect(mtuOf(B)).toBe(1350);
  });
});

describe("a peer's MTU, as whoever set the peer says", () => {
  it("is what packets to it keep to", () => {
    host.setPeers([{ ...B, mtu: 1350 }, C, { ...D, mtu: 9000 }]);
    expect([B, C, D].map(largestTo)).toEqual([1350, MTU, MTU]);
    host.setPeers([{ ...B, mtu: 1400 }, C, D]);
    expect(largestTo(B)).toBe(1400);
  });

  it.each([0, 505, -1, 1.5, Number.NaN])("cannot be %d", (mtu) => {
    expect(() => host.setPeers([{ ...B, mtu }])).toThrow(/peer "b" has an MTU of/);
  });
});
