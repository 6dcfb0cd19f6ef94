/** The encoding of probes: other bytes are refused, and a probe can be made only by its signer. */
import { describe, expect, it } from "vitest";
import { MAX_CONTROL_BYTES } from "../../src/paths/datapath.js";
import {
  addResidence,
  currentHop,
  decodeProbe,
  encodeProbe,
  isGenuine,
  MAX_PROBE_BYTES,
  MAX_RELAYS,
  newNonce,
  type Probe,
  previousHop,
  probeBytes,
  type Run,
  replyTo,
  signProbe,
} from "../../src/paths/probe.js";
import { Random } from "../../src/sim/random.js";
import { cluster, identity } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";

const [a, b] = [identity(1), identity(2)];
const run = (n: number): Run => ({
  id: identity(n).id,
  epoch: (0xabcd0000 + n).toString(16),
});
const path = (relays: number): Run[] => Array.from({ length: relays }, (_, i) => run(3 + i));

function probe({ relays = path(2), ...change }: Partial<Probe> = {}): Probe {
  return signProbe(a, cluster, {
    kind: "relayed",
    hops: 1,
    size: probeBytes(relays.length),
    isAlone: false,
    residence: 0,
    count: 2 ** 32 - 1,
    nonce: newNonce(),
    origin: run(1),
    target: run(2),
    relays,
    ...change,
  });
}

const direct = (change: Partial<Probe> = {}): Probe =>
  probe({ kind: "direct", hops: 0, relays: [], ...change });

/** The decoded probe of a datagram, as the data path delivers it. */
const arrived = (bytes: Uint8Array) =>
  decodeProbe(bytes.subarray(0, MAX_CONTROL_BYTES), bytes.length);

describe("a probe", () => {
  it("comes out as it went in, and is genuine", () => {
    const all = [direct(), probe({ hops: 2 }), probe({ hops: 0, relays: path(MAX_RELAYS) })];
    for (const sent of [...all, replyTo(direct(), b, cluster, { isAlone: true })]) {
      const bytes = encodeProbe(sent);
      const came = decodeProbe(bytes)!;
      expect(came).toEqual(sent);
      const { publicKey } = sent.kind === "reply" ? b : a;
      expect(isGenuine(cluster, publicKey, came)).toBe(true);
    }
    expect(probeBytes(MAX_RELAYS)).toBeLessThanOrEqual(MAX_CONTROL_BYTES);
  });

  it("lies in its bytes where the drawing says", () => {
    const relays = path(2);
    const known = { count: 0x05060708, nonce: "1122334455667788", relays, size: 174 };
    const sent = probe({ ...known, isAlone: true, residence: 0x01020304 });
    const hex = Buffer.from(encodeProbe(sent)).toString("hex");
    const header = ["77656674", "03", "02", "01", "02", "00ae", "0100"];
    const words = [...header, "01020304", "05060708", sent.nonce];
    const runs = [run(1), run(2), ...relays].flatMap(({ id, epoch }) => [id, epoch]);
    expect(hex).toBe([...words, ...runs, sent.signature, "0000"].join(""));
  });

  it("names the node that has it, and the node before", () => {
    const relays = path(2);
    const at = (hops: number) => {
      const sent = probe({ hops, relays });
      return [previousHop(sent), currentHop(sent)];
    };
    expect(at(0)).toEqual([run(1), relays[0]]);
    expect(at(1)).toEqual([relays[0], relays[1]]);
    expect(at(2)).toEqual([relays[1], run(2)]);
  });

  it("includes the time that all relays held it, up to the maximum of its field", () => {
    const sent = addResidence(0.25, addResidence(1, probe()));
    expect(sent.residence).toBe(1_250);
    expect(replyTo(sent, b, cluster, { isAlone: true }).residence).toBe(1_250);
    const held = decodeProbe(encodeProbe(addResidence(2 ** 40, sent)))!;
    expect(held.residence).toBe(2 ** 32 - 1);
    expect(decodeProbe(encodeProbe(addResidence(-0.01, probe())))!.residence).toBe(0);
    expect(isGenuine(cluster, a.publicKey, held)).toBe(true);
  });

  it("gets hop count and delay from its relays, which change nothing else", () => {
    const bytes = encodeProbe(probe());
    expect(isGenuine(cluster, a.publicKey, { ...decodeProbe(bytes)!, hops: 0 })).toBe(true);
    for (let i = 0; i < bytes.length; i++) {
      const isTheirs = i === 6 || (i >= 12 && i < 16);
      for (let bit = 0; bit < 8; bit++) {
        const changed = Uint8Array.from(bytes);
        changed[i] = changed[i]! ^ (1 << bit);
        const came = decodeProbe(changed);
        if (came) expect([i, isGenuine(cluster, a.publicKey, came)]).toEqual([i, isTheirs]);
      }
    }
  });

  it("is worth nothing in another cluster, as another's, or for another run", () => {
    expect(isGenuine({ ...cluster, id: "0".repeat(32) }, a.publicKey, probe())).toBe(false);
    expect(isGenuine(cluster, b.publicKey, probe())).toBe(false);
    const sent = probe();
    const forLater = { ...sent, target: { ...sent.target, epoch: "00000001" } };
    expect(isGenuine(cluster, a.publicKey, forLater)).toBe(false);
    const longer = { ...sent, relays: [...sent.relays, run(9)] };
    expect(isGenuine(cluster, a.publicKey, longer)).toBe(false);
  });

  it("is answered by its target in no more bytes, with its size", () => {
    for (const sent of [direct(), direct({ size: 1450 }), probe({ relays: path(MAX_RELAYS) })]) {
      const reply = replyTo(sent, b, cluster, { isAlone: true });
      const { nonce, size } = sent;
      expect(reply).toMatchObject({ kind: "reply", target: run(1), origin: run(2), nonce, size });
      expect(isGenuine(cluster, b.publicKey, reply)).toBe(true);
      const bytes = encodeProbe(reply);
      expect(bytes.length).toBeLessThanOrEqual(encodeProbe(sent).length);
      expect(bytes).toHaveLength(probeBytes(0));
      expect(decodeProbe(bytes)).toEqual(reply);
    }
  });

  it("may be padded to any size a datagram has, and counts only if it came whole", () => {
    for (const size of [133, 512, 513, 1450, 9000, MAX_PROBE_BYTES]) {
      for (const sent of [direct({ size }), probe({ size, relays: path(1), hops: 0 })]) {
        if (size < probeBytes(sent.relays.length)) continue;
        const bytes = encodeProbe(sent);
        expect(bytes).toHaveLength(size);
        expect(arrived(bytes)).toEqual(sent);
        for (const cut of [1, 60, size - probeBytes(sent.relays.length)]) {
          expect(arrived(bytes.subarray(0, size - cut))).toBeUndefined();
        }
        expect(arrived(Buffer.concat([bytes, Buffer.alloc(1)]))).toBeUndefined();
      }
    }
    expect(arrived(encodeProbe({ ...direct({ size: 1450 }), size: 1400 }))).toBeDefined();
    const resized = arrived(encodeProbe({ ...direct({ size: 1450 }), size: 1400 }))!;
    expect(isGenuine(cluster, a.publicKey, resized)).toBe(false);
  });

  it("is not found in other bytes", () => {
    const random = new Random(seed);
    const bytes = encodeProbe(probe());
    const noise = (length: number) => Uint8Array.from({ length }, () => random.below(256));
    for (let i = 0; i < 20_000; i++) {
      expect(decodeProbe(noise(random.below(600)))).toBeUndefined();
      const changed = Uint8Array.from(bytes);
      for (let n = random.below(4); n >= 0; n--) changed[random.below(12)] = random.below(256);
      const came = decodeProbe(changed);
      if (came) expect(Buffer.from(encodeProbe(came)).equals(changed)).toBe(true);
    }
    for (let length = 0; length < 600; length++) {
      const cut = Buffer.concat([bytes, noise(600)]).subarray(0, length);
      expect(decodeProbe(cut) !== undefined).toBe(length === bytes.length);
    }
  });

  it("has no more relays than may be, is not past its target, and is not padded with anything", () => {
    const change = (at: number, value: number, sent = probe({ size: 300 })) => {
      const bytes = encodeProbe(sent);
      bytes[at] = value;
      return decodeProbe(bytes);
    };
    expect(change(6, 2)).toBeDefined();
    expect(change(6, 3)).toBeUndefined();
    const far = probe({ size: 512, relays: path(MAX_RELAYS) });
    expect(change(7, MAX_RELAYS, far)).toBeDefined();
    expect(change(7, MAX_RELAYS + 1, far)).toBeUndefined();
    expect(change(7, 1, direct({ size: 300 }))).toBeUndefined();
    expect(change(299, 1)).toBeUndefined();
    expect([change(10, 1), change(10, 2), change(11, 1)].map((it) => it !== undefined)).toEqual([
      true,
      false,
      false,
    ]);
  });
});
