/** The core's sums and small tables beside their slow, obvious twins; its map and its reasons beside the host's. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_SENDERS } from "../../src/compile/peers.js";
import { DEFAULT_FLOWS } from "../../src/core/flows.js";
import { Core } from "../../src/core/instance.js";
import { reasonNames } from "../../src/core/reasons.js";
import { checksum, ipv4, seedOfRun, vxlan } from "../packets.js";
import { A, B, Host, hostOf } from "./host.js";

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

describe("the table of underlay addresses", () => {
  /** Few addresses that lie close together, of both families: many peers at one, many neighbours. */
  const underlay = fc.tuple(fc.constantFrom(4, 6), fc.nat(40)).map(([family, n]) => {
    return family === 4 ? `192.0.2.${n}` : `[2001:db8::${n.toString(16)}]`;
  });

  /** Where a peer is sent to, and where else its packets may come from. */
  const addressesOfPeer = fc.tuple(underlay, fc.array(underlay, { maxLength: MAX_SENDERS }));
  const everyAddress = Array.from({ length: 42 }, (_, n) => [
    `192.0.2.${n}`,
    `[2001:db8::${n.toString(16)}]`,
  ]).flat();

  it("knows exactly the addresses that the peers send from", async () => {
    const host = await Host.create({ peers: [] });
    const ofNobody = vxlan(
      ipv4({ src: "10.99.0.1", dst: hostOf(A), protocol: 99, payload: new Uint8Array(9) }),
    );
    fc.assert(
      fc.property(fc.array(addressesOfPeer, { maxLength: 30 }), (given) => {
        host.setPeers(
          given.map(([address, senders], i) => ({
            name: `peer${i}`,
            endpoint: `${address}:${4000 + i}`,
            mac: `02:00:00:00:01:${(16 + i).toString(16)}`,
            leases: [],
            senders: senders.map(bare),
          })),
        );
        const known = given.flatMap(([address, senders]) => [address, ...senders]);
        for (const address of everyAddress) {
          const { verdicts } = host.receive([{ from: `${address}:1`, bytes: ofNobody }]);
          const isKnown = known.includes(address);
          expect(verdicts).toEqual([isKnown ? "spoofed-source" : "unknown-peer"]);
        }
      }),
      { seed, numRuns: 30 },
    );
  });

  it("lets a peer's packets come from its own address and its senders', and no other", async () => {
    const host = await Host.create({ peers: [] });
    const ofB = vxlan(
      ipv4({ src: hostOf(B), dst: hostOf(A), protocol: 99, payload: new Uint8Array(9) }),
    );
    fc.assert(
      fc.property(addressesOfPeer, ([address, senders]) => {
        // Somebody else sends from everywhere: that must not help B.
        const elsewhere = everyAddress.map((from, i) => ({
          name: `peer${i}`,
          endpoint: `${from}:4789`,
          mac: `02:00:00:00:01:${hex(i)}`,
          leases: [],
        }));
        host.setPeers([
          { ...B, endpoint: `${address}:4789`, senders: senders.map(bare) },
          ...elsewhere,
        ]);
        for (const from of everyAddress) {
          const { verdicts } = host.receive([{ from: `${from}:1`, bytes: ofB }]);
          const may = [address, ...senders].includes(from);
          expect([from, ...verdicts]).toEqual([from, may ? "delivered" : "spoofed-source"]);
        }
      }),
      { seed, numRuns: 30 },
    );
  });

  it("does not take an IPv6 sender for the IPv4 address its first bytes spell, nor nobody for ::", async () => {
    const host = await Host.create({ peers: [{ ...B, senders: ["2001:db8::", "192.0.2.9"] }] });
    const ofB = vxlan(
      ipv4({ src: hostOf(B), dst: hostOf(A), protocol: 99, payload: new Uint8Array(9) }),
    );
    const verdictOf = (from: string) => host.receive([{ from, bytes: ofB }]).verdicts[0];
    expect(verdictOf("[2001:db8::]:1")).toBe("delivered");
    expect(verdictOf("192.0.2.9:1")).toBe("delivered");
    for (const from of ["32.1.13.184:1", "[c000:209::]:1", "[::]:1", "0.0.0.0:1"]) {
      expect([from, verdictOf(from)]).toEqual([from, "unknown-peer"]);
    }
  });

  it("refuses more senders than the record holds", async () => {
    const host = await Host.create();
    expect(host.layout.MAX_SENDERS).toBe(MAX_SENDERS);
    const senders = Array.from({ length: MAX_SENDERS + 1 }, (_, i) => `192.0.2.${10 + i}`);
    expect(() => host.setPeers([{ ...B, senders }])).toThrow(/senders/);
  });

  it("is full with as many peers as there can be, and still finds each and no other", async () => {
    const host = await Host.create({ peers: [] });
    const count = host.layout.MAX_PEERS - 2;
    const mac = (i: number) => `02:00:00:00:${[i >> 8, i & 255].map(hex).join(":")}`;
    const peers = Array.from({ length: count }, (_, i) => ({
      name: `peer${i}`,
      endpoint: `10.${i >> 8}.${i & 255}.1:4789`,
      mac: mac(i),
      leases: [],
      senders: [3, 4, 5, 6].map((last) => `10.${i >> 8}.${i & 255}.${last}`),
    }));
    host.setPeers(peers);
    const bytes = vxlan(
      ipv4({ src: "10.99.0.1", dst: hostOf(A), protocol: 99, payload: new Uint8Array(9) }),
    );
    const verdictOf = (from: string) => host.receive([{ from, bytes }]).verdicts[0];
    expect(new Set(peers.map(({ endpoint }) => verdictOf(endpoint)))).toEqual(
      new Set(["spoofed-source"]),
    );
    expect(new Set(peers.map(({ endpoint }) => verdictOf(endpoint.replace(".1:", ".6:"))))).toEqual(
      new Set(["spoofed-source"]),
    );
    expect(new Set(peers.map(({ endpoint }) => verdictOf(endpoint.replace(".1:", ".2:"))))).toEqual(
      new Set(["unknown-peer"]),
    );
    expect(() => host.setPeers([...peers, { ...B, mac: "02:00:00:00:ff:ff", leases: [] }])).toThrow(
      /more than this node can hold/,
    );
  });

  const hex = (n: number) => n.toString(16).padStart(2, "0");
  const bare = (address: string) => address.replace(/[[\]]/g, "");
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
