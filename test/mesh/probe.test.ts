/** Probes as bytes: nothing that is none is taken for one, and nobody can make one for another. */
import { describe, expect, it } from "vitest";
import { MAX_CONTROL_BYTES } from "../../src/mesh/datapath.js";
import { Once, WINDOW } from "../../src/mesh/once.js";
import {
  decodeProbe,
  encodeProbe,
  isGenuine,
  type Kind,
  MAX_RELAYS,
  newNonce,
  PROBE_BYTES,
  type Probe,
  replyTo,
  signProbe,
} from "../../src/mesh/probe.js";
import { Random } from "../../src/sim/random.js";
import { cluster, identity } from "./cluster.js";
import { seed } from "./seed.js";

const [a, b] = [identity(1), identity(2)];
const probe = (change: Partial<Probe> = {}): Probe =>
  signProbe(a, cluster, {
    kind: "relayed",
    hops: 3,
    target: b.id,
    origin: a.id,
    edition: 7,
    count: 2 ** 32 - 1,
    nonce: newNonce(),
    ...change,
  });

describe("a probe", () => {
  it("comes out as it went in, is short, and is genuine", () => {
    for (const kind of ["direct", "relayed", "reply"] as Kind[]) {
      const sent = probe({ kind });
      const bytes = encodeProbe(sent);
      expect(bytes).toHaveLength(PROBE_BYTES);
      expect(bytes.length).toBeLessThanOrEqual(MAX_CONTROL_BYTES);
      const came = decodeProbe(bytes)!;
      expect(came).toEqual(sent);
      expect(isGenuine(cluster, a.publicKey, came)).toBe(true);
    }
  });

  it("lies in its bytes where the drawing says", () => {
    const sent = probe({
      hops: 5,
      edition: 0x01020304,
      count: 0x05060708,
      nonce: "1122334455667788",
    });
    const hex = Buffer.from(encodeProbe(sent)).toString("hex");
    const words = ["77656674", "01", "02", "05", "00", b.id, a.id, "01020304", "05060708"];
    expect(hex).toBe([...words, "1122334455667788", sent.signature].join(""));
  });

  it("may be counted down by who carries it, and changed in nothing else", () => {
    const sent = probe();
    expect(isGenuine(cluster, a.publicKey, { ...sent, hops: 0 })).toBe(true);
    const bytes = encodeProbe(sent);
    for (let i = 0; i < PROBE_BYTES; i++) {
      const isHops = i === 6;
      for (let bit = 0; bit < 8; bit++) {
        const changed = Uint8Array.from(bytes);
        changed[i] = changed[i]! ^ (1 << bit);
        const came = decodeProbe(changed);
        if (came) expect([i, isGenuine(cluster, a.publicKey, came)]).toEqual([i, isHops]);
      }
    }
  });

  it("is worth nothing in another cluster, or as another's", () => {
    expect(isGenuine({ ...cluster, id: "0".repeat(32) }, a.publicKey, probe())).toBe(false);
    expect(isGenuine(cluster, b.publicKey, probe())).toBe(false);
  });

  it("is answered by its target with as many bytes", () => {
    const sent = probe();
    const reply = replyTo(sent, b, cluster);
    expect(reply).toMatchObject({ kind: "reply", target: a.id, origin: b.id, nonce: sent.nonce });
    expect(isGenuine(cluster, b.publicKey, reply)).toBe(true);
    expect(encodeProbe(reply)).toHaveLength(PROBE_BYTES);
  });

  it("is not found in what is none", () => {
    const random = new Random(seed);
    const bytes = encodeProbe(probe());
    const noise = (length: number) => Uint8Array.from({ length }, () => random.below(256));
    for (let i = 0; i < 20_000; i++) {
      expect(decodeProbe(noise(random.below(600)))).toBeUndefined();
      const changed = Uint8Array.from(bytes);
      for (let n = random.below(4); n >= 0; n--) changed[random.below(8)] = random.below(256);
      const came = decodeProbe(changed);
      if (came) expect(Buffer.from(encodeProbe(came)).equals(changed)).toBe(true);
    }
    for (let length = 0; length < 600; length++) {
      const cut = Buffer.concat([bytes, noise(600)]).subarray(0, length);
      expect(decodeProbe(cut) !== undefined).toBe(length === PROBE_BYTES);
    }
    for (const hops of [MAX_RELAYS + 1, 255]) {
      const far = Uint8Array.from(bytes);
      far[6] = hops;
      expect(decodeProbe(far)).toBeUndefined();
    }
  });
});

describe("each probe counts once", () => {
  it("in any order that the window allows, as a list of all that came says too", () => {
    const random = new Random(seed);
    const once = new Once();
    const all = new Set<number>();
    let newest = 0;
    for (let i = 0; i < 5_000; i++) {
      const count = Math.max(1, i + random.below(2 * WINDOW) - WINDOW);
      const isNew = count > newest - WINDOW && !all.has(count);
      expect([count, once.first({ edition: 1, count }, 1)]).toEqual([count, isNew]);
      all.add(count);
      newest = Math.max(newest, count);
    }
  });

  it("and one of an older record not at all", () => {
    const once = new Once();
    expect(once.first({ edition: 3, count: 900 }, 4)).toBe(false);
    expect(once.first({ edition: 5, count: 900 }, 4)).toBe(true);
    expect(once.first({ edition: 4, count: 901 }, 4)).toBe(false);
    expect(once.first({ edition: 6, count: 1 }, 4)).toBe(true);
  });
});
