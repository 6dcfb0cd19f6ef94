/** This node's rules are made again only when something changed, and what did not keeps its object. */
import { beforeEach, describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { NO_NAT as NO_RULES } from "../../src/compile/nat-rules.js";
import { NO_NAT, readNat } from "../../src/nat/document.js";
import { absentFromNat, natNotes } from "../../src/nat/notes.js";
import { natRulesOf } from "../../src/nat/rules.js";
import { Translator } from "../../src/nat/translator.js";
import { WHOLE } from "./documents.js";

const document = readNat(WHOLE, "n");
const leases = (...texts: string[]) => texts.map(parsePrefix);
let members: Map<string, ReturnType<typeof leases>>;
let living: Set<string>;
let translator: Translator;
const rulesOf = (it = document) => translator.rulesOf(it, () => ({ members, living }));

beforeEach(() => {
  members = new Map([
    ["h1", leases("10.244.1.0/24")],
    ["h2", leases("10.244.2.0/24")],
    ["h3", leases("10.244.3.0/24")],
  ]);
  living = new Set(members.keys());
  translator = new Translator("h1");
});

describe("rules", () => {
  it("are none without a document, whoever lives", () => {
    expect(natRulesOf(NO_NAT, members, "h1", () => true)).toEqual(NO_RULES);
    expect(rulesOf(NO_NAT)).toBe(NO_RULES);
    expect(translator.rulesOf(NO_NAT, () => expect.unreachable())).toBe(NO_RULES);
  });

  it("stay the same object while nothing changes", () => {
    const rules = rulesOf();
    expect(rulesOf()).toBe(rules);
    members = new Map(members);
    expect(rulesOf()).toBe(rules);
    members.set("h4", leases("10.244.4.0/24"));
    expect(rulesOf()).toBe(rules);
    expect(rulesOf(readNat(`\n${WHOLE}`, "n"))).toBe(rules);
  });

  it("change with a death, which changes only the services with backends there", () => {
    const before = rulesOf();
    living.delete("h2");
    const after = rulesOf();
    expect(after).not.toBe(before);
    expect(after.services[0]!.backends).toHaveLength(2);
    expect(after.services.slice(1)).toEqual(before.services.slice(1));
    expect(after.services.every((one, i) => i === 0 || one === before.services[i])).toBe(true);
  });

  it("change with leases and with the document", () => {
    const before = rulesOf();
    members.set("h1", leases("10.244.1.0/24", "10.244.9.0/24"));
    const after = rulesOf();
    expect([before.netmaps, after.netmaps.length]).toEqual([[], 1]);
    expect(rulesOf(readNat(WHOLE.replace("weight: 2", "weight: 3"), "n"))).not.toBe(after);
    expect(rulesOf(NO_NAT)).toBe(NO_RULES);
  });
});

describe("an operator is told", () => {
  const notes = (text: string) => natNotes(readNat(text, "n"), members);

  it.each([
    [
      "services: [{ name: a, protocol: tcp, address: 10.244.2.9, port: 80, backends: [] }]",
      "service a: 10.244.2.9 is in a lease of h2; choose an address that no node owns",
    ],
    [
      "ports: [{ protocol: tcp, address: 10.9.0.1, port: 80, to: 10.244.1.5:80 }]",
      "port 10.9.0.1:80/tcp: no node owns 10.9.0.1, so none publishes it",
    ],
    [
      "ports: [{ protocol: tcp, address: 'node:h9', port: 80, to: 10.244.1.5:80 }]",
      "port node:h9:80/tcp: h9 has no IPv4 lease yet",
    ],
    [
      "ports: [{ protocol: tcp, address: 'node:h1', port: 80, to: '[fd00::5]:80' }]",
      "port node:h1:80/tcp: h1 has no IPv6 lease yet",
    ],
    [
      "ports: [{ protocol: tcp, address: 10.244.1.1, port: 80, to: 10.244.1.5:80 }, { protocol: tcp, address: 'node:h1', port: 80, to: 10.244.1.6:80 }]",
      "port node:h1:80/tcp: 10.244.1.1:80/tcp is at the same place, and counts",
    ],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.244.0.0/16 }]",
      "snat 0: no node owns all of 10.244.0.0/16, so none translates by it",
    ],
    [
      "netmap: [{ from: 10.1.0.0/24, to: 10.244.9.0/24 }]",
      "netmap 0: no node owns all of 10.244.9.0/24, so none translates by it",
    ],
    [
      "netmap: [{ from: 10.1.0.0/25, to: 10.244.1.0/25 }, { from: 10.1.0.0/25, to: 10.244.1.128/25 }]",
      "netmap (line 1): h1 maps 10.1.0.0/25 already, by line 1, which counts",
    ],
  ])("%s", (text, note) => {
    expect(notes(text)).toEqual([note]);
  });

  it("at most 20 at once, and none of a document that fits", () => {
    const rule = "{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 192.0.2.1 }";
    expect(notes(`snat: [${Array(30).fill(rule).join()}]`)).toHaveLength(20);
    members.set("h3", leases("10.244.9.0/24"));
    members.set("h4", leases("10.244.10.0/24"));
    const fits = readNat(WHOLE.replace("{ client: 30m }", "client"), "n");
    expect(natNotes(fits, members)).toEqual([]);
    expect(natNotes(document, members)).toEqual([expect.stringContaining("web: the time of its")]);
  });

  it("which nodes are not known", () => {
    members.delete("h2");
    expect(absentFromNat(document, members)).toEqual(["h2"]);
  });
});
