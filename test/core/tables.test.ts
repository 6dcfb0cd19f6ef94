/** The core's sums and small tables beside their slow, obvious twins; its map and its reasons beside the host's. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_SENDERS } from "../../src/compile/peers.js";
import { DEFAULT_FLOWS } from "../../src/core/flows.js";
import { Core } from "../../src/core/instance.js";
import { reasonNames } from "../../src/core/reasons.js";
import type { Peer } from "../../src/peer.js";
import { checksum, ipv4, seedOfRun, vxlan } from "../packets.js";
import { A, B, Host, hostOf, read } from "./host.js";

const seed = seedOfRun("tables");

describe("checksum", () => {
  it("agrees with RFC 1071 added up word by word, wherever the bytes lie and however many", async () => {
    const core = await Core.create();
    const { bytes, exports, layout } = core;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(31), (data, shift) => {
        const at = layout.SLOTS + shift;
        bytes.set(data, at);
        const native = exports.fold(exports.sum(at, data.length));
        const network = ((native & 0xff) << 8) | (native >> 8);
        // 0 and 0xffff are the same sum.
        expect((~network & 0xffff) % 0xffff).toBe(checksum(data) % 0xffff);
      }),
      { seed, numRuns: 500 },
    );
  });

  it("does not overflow on the largest packet of the largest words", async () => {
    const { bytes, exports, layout } = await Core.create();
    bytes.fill(0xff, layout.SLOTS, layout.SLOTS + 65535);
    expect(exports.fold(exports.sum(layout.SLOTS, 65534))).toBe(0xffff);
    expect(exports.fold(exports.sum(layout.SLOTS, 65535))).toBe(0xff);
  });
});

describe("the table of underlay endpoints", () => {
  const PORTS = [1, 4789, 0xff00];
  /** Few endpoints that lie close together, of both families: many peers at one, many neighbours. */
  const address = fc.tuple(fc.constantFrom(4, 6), fc.nat(12)).map(([family, n]) => {
    return family === 4 ? `192.0.2.${n}` : `[2001:db8::${n.toString(16)}]`;
  });
  const underlay = fc
    .tuple(address, fc.constantFrom(...PORTS))
    .map(([host, port]) => `${host}:${port}`);
  const everyEndpoint = Array.from({ length: 14 }, (_, n) => [
    `192.0.2.${n}`,
    `[2001:db8::${n.toString(16)}]`,
  ])
    .flat()
    .flatMap((host) => PORTS.map((port) => `${host}:${port}`));

  /** Where a peer is sent to, from where its packets come, and whether the port matters. */
  const peerAt = fc.record(
    {
      endpoint: underlay,
      senders: fc.array(underlay, { maxLength: MAX_SENDERS }),
      anyPort: fc.boolean(),
      noPath: fc.boolean(),
    },
    { requiredKeys: ["endpoint"] },
  );
  const addressOf = (endpoint: string) => endpoint.slice(0, endpoint.lastIndexOf(":"));
  const mayComeFrom = ({ endpoint, senders = [endpoint], anyPort }: Whereabouts, from: string) =>
    senders.some((sender) => (anyPort ? addressOf(sender) === addressOf(from) : sender === from));
  type Whereabouts = Pick<Peer, "endpoint" | "senders" | "anyPort">;
  const packetOf = (src: string) =>
    vxlan(ipv4({ src, dst: hostOf(A), protocol: 99, payload: new Uint8Array(9) }));
  const ofNobody = packetOf("10.99.0.1");
  const ofB = packetOf(hostOf(B));

  it("knows exactly the endpoints that the peers send from", async () => {
    const host = await Host.create({ peers: [] });
    fc.assert(
      fc.property(fc.array(peerAt, { maxLength: 30 }), (given) => {
        host.setPeers(
          given.map((where, i) => ({
            ...where,
            name: `peer${i}`,
            mac: `02:00:00:00:01:${hex(i)}`,
            leases: [],
          })),
        );
        for (const from of everyEndpoint) {
          const { verdicts } = host.receive([{ from, bytes: ofNobody }]);
          const isKnown = given.some((peer) => mayComeFrom(peer, from));
          expect([from, ...verdicts]).toEqual([from, isKnown ? "spoofed-source" : "unknown-peer"]);
        }
      }),
      { seed, numRuns: 30 },
    );
  });

  it("lets a peer's packets come from its senders, address and port, and from nowhere else", async () => {
    const host = await Host.create({ peers: [] });
    fc.assert(
      fc.property(peerAt, (where) => {
        // Somebody else sends from everywhere: that must not help B.
        const elsewhere = everyEndpoint.map((endpoint, i) => ({
          name: `peer${i}`,
          endpoint,
          mac: `02:00:00:00:01:${hex(i)}`,
          leases: [],
        }));
        host.setPeers([{ ...B, ...where }, ...elsewhere]);
        for (const from of everyEndpoint) {
          const { verdicts } = host.receive([{ from, bytes: ofB }]);
          const may = mayComeFrom(where, from);
          expect([from, ...verdicts]).toEqual([from, may ? "delivered" : "spoofed-source"]);
        }
      }),
      { seed, numRuns: 30 },
    );
  });

  it("takes nothing from another port of a peer's host, as an unprivileged process there would send it", async () => {
    const host = await Host.create();
    const verdictOf = (from: string) => host.receive([{ from, bytes: ofB }]).verdicts[0];
    expect(verdictOf(B.endpoint)).toBe("delivered");
    for (const port of [1, 1024, 4788, 4790, 65535]) {
      expect(verdictOf(`${addressOf(B.endpoint)}:${port}`)).toBe("unknown-peer");
    }
    host.setPeers([{ ...B, anyPort: true }]);
    for (const port of [1, 4789, 65535]) {
      expect(verdictOf(`${addressOf(B.endpoint)}:${port}`)).toBe("delivered");
    }
  });

  it("does not confuse an IPv6 sender with the IPv4 address in its first bytes, nor an empty entry with ::", async () => {
    const senders = ["[2001:db8::]:1", "192.0.2.9:1"];
    const host = await Host.create({ peers: [{ ...B, senders }] });
    const verdictOf = (from: string) => host.receive([{ from, bytes: ofB }]).verdicts[0];
    for (const from of senders) expect(verdictOf(from)).toBe("delivered");
    for (const from of ["32.1.13.184:1", "[c000:209::]:1", "[::]:1", "0.0.0.0:1", B.endpoint]) {
      expect([from, verdictOf(from)]).toEqual([from, "unknown-peer"]);
    }
  });

  it("refuses more senders than the record holds", async () => {
    const host = await Host.create();
    expect(host.layout.MAX_SENDERS).toBe(MAX_SENDERS);
    const senders = Array.from({ length: MAX_SENDERS + 1 }, (_, i) => `192.0.2.${10 + i}:1`);
    expect(() => host.setPeers([{ ...B, senders }])).toThrow(/senders/);
  });

  it("is full with as many peers as there can be, and still finds each and no other", async () => {
    const host = await Host.create({ peers: [] });
    const count = host.layout.MAX_PEERS - 2;
    const mac = (i: number) => `02:00:00:00:${[i >> 8, i & 255].map(hex).join(":")}`;
    const at = (i: number, last: number) => `10.${i >> 8}.${i & 255}.${last}:4789`;
    const peers = Array.from({ length: count }, (_, i) => ({
      name: `peer${i}`,
      endpoint: at(i, 1),
      mac: mac(i),
      leases: [],
      senders: [3, 4, 5, 6].map((last) => at(i, last)),
    }));
    host.setPeers(peers);
    const verdictOf = (from: string) => host.receive([{ from, bytes: ofNobody }]).verdicts[0];
    const verdictsAt = (last: number) => new Set(peers.map((_, i) => verdictOf(at(i, last))));
    expect(verdictsAt(3)).toEqual(new Set(["spoofed-source"]));
    expect(verdictsAt(6)).toEqual(new Set(["spoofed-source"]));
    expect(verdictsAt(1)).toEqual(new Set(["unknown-peer"]));
    expect(() => host.setPeers([...peers, { ...B, mac: "02:00:00:00:ff:ff", leases: [] }])).toThrow(
      /more than this node can hold/,
    );
  });

  const hex = (n: number) => n.toString(16).padStart(2, "0");
});

describe("a peer to which no path has answered", () => {
  it("is sent nothing: packets for it are dropped, with a reason of their own and without an ICMP error", async () => {
    const host = await Host.create({ peers: [{ ...B, noPath: true, senders: [] }] });
    const packet = ipv4({
      src: hostOf(A),
      dst: hostOf(B),
      protocol: 99,
      payload: new Uint8Array(9),
    });
    const { sent, written, verdicts } = host.send([read(packet), read(packet)]);
    expect([sent, written, verdicts]).toEqual([[], [], ["no-path", "no-path"]]);
    expect(host.counters().out.dropped).toEqual({ "no-path": 2 });
    expect(host.publisher.active()).toEqual(["b"]);
    expect(host.publisher.active()).toEqual([]);
    host.setPeers([B]);
    expect(host.send([read(packet)]).sent.map(({ to }) => to)).toEqual([B.endpoint]);
  });
});

describe("the map and the reasons", () => {
  it("name every reason of the core in its order", async () => {
    const { module, memory } = await Core.create();
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const numberOf = (name: string) => (exports[name] as { value: number } | undefined)?.value;
    expect(numberOf("REASONS")).toBe(reasonNames.length);
    reasonNames.slice(1).forEach((name, i) => {
      expect([name, numberOf(name.toUpperCase().replaceAll("-", "_"))]).toEqual([name, i + 1]);
    });
  });

  it("fit into the memory, one region after the other", async () => {
    const { layout, bytes } = await Core.create();
    const order = [
      layout.CONTROL,
      layout.GUARD_0,
      layout.COUNTERS,
      layout.TRAFFIC,
      layout.PATH_MTU,
      layout.HINTS_PUT,
      layout.HINTS,
      layout.GUARD_1,
      layout.TABLES,
      layout.GUARD_2,
      layout.GUARD_9,
      layout.LIMITS,
      layout.GUARD_11,
      layout.PACKETS,
      layout.LENGTHS,
      layout.GUARD_3,
      layout.RECEIVE,
      layout.RECEIVE_NAMES,
      layout.RECEIVE_CONTROLS,
      layout.ERROR_MESSAGE,
      layout.ERROR_NAME,
      layout.ERROR_CONTROL,
      layout.ERROR_QUOTE,
      layout.GUARD_4,
      layout.MAILBOX,
      layout.GUARD_8,
      layout.WIRE,
      layout.WIRE_IOVECS,
      layout.GUARD_5,
      layout.DEVICE,
      layout.DEVICE_IOVECS,
      layout.GUARD_6,
      layout.SLOTS,
      layout.GUARD_7,
      layout.TRACE_COUNT,
      layout.TRACE_RECORDS,
      layout.CAPTURE,
      layout.CAPTURE_ENDS,
      layout.CAPTURE_HEADS,
      layout.CAPTURE_RING,
      layout.GUARD_10,
      layout.FLOW_TAGS,
      layout.FLOWS,
      layout.FLOWS + DEFAULT_FLOWS * layout.FLOW_SIZE + layout.GUARD_SIZE,
      bytes.length,
    ];
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });
});
