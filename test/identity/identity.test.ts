import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson } from "../../src/identity/canonical-json.js";
import { ed25519 } from "../../src/identity/ed25519.js";
import { Identity, nodeId, vtepMac } from "../../src/identity/identity.js";
import { derivePsk } from "../../src/identity/secret.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { seed } from "../mesh/seed.js";

describe("an identity", () => {
  it("is the one of RFC 8032 test 1", () => {
    const one = new Identity("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    expect(one.publicKey).toBe("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    expect(one.sign("")).toBe(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
  });

  it("signs so that any other text, key or signature fails", () => {
    const one = Identity.generate();
    const signature = one.sign("text");
    expect(ed25519.verify(one.publicKey, "text", signature)).toBe(true);
    expect(ed25519.verify(one.publicKey, "texu", signature)).toBe(false);
    expect(ed25519.verify(Identity.generate().publicKey, "text", signature)).toBe(false);
    for (let i = 0; i < signature.length; i++) {
      const digit = signature[i] === "0" ? "1" : "0";
      expect(
        ed25519.verify(
          one.publicKey,
          "text",
          signature.slice(0, i) + digit + signature.slice(i + 1),
        ),
      ).toBe(false);
    }
  });

  it("of nonsense verifies nothing and throws nothing", () => {
    for (const key of ["", "zz", "00".repeat(31), "ff".repeat(32)])
      expect(ed25519.verify(key, "", "")).toBe(false);
  });

  it("signs by the scheme it was made with, beside others of another scheme", () => {
    const real = Identity.generate();
    const cheap = new Identity(real.seed, cheapSignatures);
    expect([cheap.publicKey, cheap.id]).toEqual([real.publicKey, real.id]);
    const verifiedBy = (text: string) =>
      [ed25519, cheapSignatures].map(({ verify }) => verify(real.publicKey, "text", text));
    expect(verifiedBy(real.sign("text"))).toEqual([true, false]);
    expect(verifiedBy(cheap.sign("text"))).toEqual([false, true]);
  });

  it("gives a MAC that is unicast, locally administered, and its own", () => {
    const macs = Array.from({ length: 50 }, () => vtepMac(Identity.generate().id));
    expect(macs.every((mac) => /^02(:[0-9a-f]{2}){5}$/.test(mac))).toBe(true);
    expect(new Set(macs).size).toBe(50);
  });

  it("has an id of 16 bytes that the public key alone gives", () => {
    const one = Identity.generate();
    expect(one.id).toMatch(/^[0-9a-f]{32}$/);
    expect(nodeId(one.publicKey)).toBe(one.id);
  });
});

describe("the canonical spelling", () => {
  const plain = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie("value"), { maxKeys: 4 }),
    ),
  })).value;

  it("does not depend on the order of keys, and reads back as the same value", () => {
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(reversed);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([k, v]) => [k, reversed(v)]),
      );
    };
    fc.assert(
      fc.property(plain, (value) => {
        const text = canonicalJson(value as never);
        expect(canonicalJson(reversed(value) as never)).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { seed },
    );
  });
});

describe("a cluster secret", () => {
  it("shorter than 16 characters is refused with what to do", () => {
    expect(() => derivePsk("fifteen letters")).toThrow(
      expect.objectContaining({ code: "SECRET_SHORT" }),
    );
    expect(() => derivePsk("sixteen letters!")).not.toThrow();
  });

  it("gives one key and one name, and tells neither from the other", () => {
    const [a, again, b] = [
      "a secret of the tests",
      "a secret of the tests",
      "a secret of the tests2",
    ].map(derivePsk);
    expect(again).toEqual(a);
    expect(b!.identity).not.toBe(a!.identity);
    expect(b!.key.equals(a!.key)).toBe(false);
    expect(a!.identity).not.toContain(a!.key.toString("hex").slice(0, 16));
  });
});
