/** What the underlay says of the way to a peer, believed within limits. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Peer } from "../../src/peer.js";
import { ipv4, ipv6, udp } from "../packets.js";
import { A, B, C, Host, hostOf, MTU, read } from "./host.js";

const TEN_MINUTES = 600_000;
const EMSGSIZE = 90;
const ECONNREFUSED = 111;
const IP_RECVERR = [0, 11] as const;
const IPV6_RECVERR = [41, 25] as const;

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
  /** What cmsg_len says. */
  said?: number;
}

function control({ kind = IP_RECVERR, errno = EMSGSIZE, mtu = 0, said = 48 }: Control): Buffer {
  // cmsghdr 16, sock_extended_err 16, the offender's address 16.
  const bytes = Buffer.alloc(48);
  bytes.writeUInt32LE(said, 0);
  bytes.writeUInt32LE(kind[0], 8);
  bytes.writeUInt32LE(kind[1], 12);
  bytes.writeUInt32LE(errno, 16);
  bytes.writeUInt32LE(mtu, 24);
  return bytes;
}

/** As recvmsg(MSG_ERRQUEUE) leaves it, `length` bytes of control data. */
function hear(to: string | undefined, controls: readonly Control[], length?: number): void {
  const { layout, core } = host;
  core.exports.prepareError();
  if (to) host.writeName(layout.ERROR_NAME, to);
  const bytes = Buffer.concat(controls.map(control));
  core.bytes.set(bytes.subarray(0, layout.ERROR_CONTROL_SIZE), layout.ERROR_CONTROL);
  const controlLength = layout.ERROR_MESSAGE + layout.MMSGHDR_CONTROLLEN;
  core.view.setBigUint64(controlLength, BigInt(length ?? bytes.length), true);
  core.exports.begin();
  core.exports.noteError();
  core.exports.settle(layout.OUT);
}

const hear4 = (mtu: number, to = B.endpoint) => hear(to, [{ mtu }]);
const hear6 = (mtu: number, to = C.endpoint) => hear(to, [{ kind: IPV6_RECVERR, mtu }]);

describe("path MTU", () => {
  it("lowers every peer at that address, and nobody else, and is seen from outside", () => {
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

  it("is told to senders: fragmentation needed, packet too big", () => {
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

  it("is not raised again by a later, larger word (RFC 8201, 4)", () => {
    hear4(1000);
    hear4(1300);
    expect([mtuOf(B), largestTo(B)]).toEqual([950, 950]);
    hear4(900);
    expect([mtuOf(B), largestTo(B)]).toEqual([850, 850]);
  });

  it("is forgotten after ten minutes, and heard again", () => {
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
