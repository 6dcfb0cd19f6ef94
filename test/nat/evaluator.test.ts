/** The translations of a connection's first packet, as far as a document and the leases tell. */
import { describe, expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import { readNat } from "../../src/nat/document.js";
import { readNatExpectations, tryNatExpectations } from "../../src/nat/expectations.js";

const NODES =
  "nodes: { h1: [10.244.1.0/24, fd00:244:1::/64], h2: [10.244.2.0/24], h3: [10.244.9.0/24] }";

const DOCUMENT = readNat(
  `services:
  - { name: web, protocol: tcp, address: 10.96.0.10, port: 80, backends: [10.244.1.5:8080, 10.244.2.5:8080] }
  - { name: six, protocol: tcp, address: "fd00:96::1", port: 80, backends: ["[fd00:244:1::5]:80"] }
  - { name: none, protocol: tcp, address: 10.96.0.11, port: 80, backends: [{ to: 10.244.1.5:80, drain: true }] }
ports:
  - { protocol: tcp, address: 10.244.1.1, port: 8080, to: 10.244.1.20:80 }
  - { protocol: tcp, address: "node:h2", port: 8081, to: 10.244.1.20:80 }
masquerade: [{ from: 192.0.2.0/24, to: 10.244.0.0/16 }]
snat:
  - { from: 10.244.2.0/24, to: 198.51.100.0/24, address: 10.244.2.240/28 }
  - { from: 10.244.2.0/24, to: 198.51.101.0/24, address: 10.244.2.239 }
netmap: [{ from: 10.1.0.0/24, to: 10.244.9.0/24 }]
egress: [{ from: [10.244.1.0/24], to: [0.0.0.0/0], via: [gone, h2], address: 192.0.2.250 },
  { from: [10.244.9.0/24], to: [0.0.0.0/0], via: [gone], address: 192.0.2.250 }]
`,
  "n",
);

/** The ways found for an expectation with these keys. */
function found(keys: string): readonly string[] {
  const text = `${NODES}\nexpect: [{ ${keys}, source: 192.0.2.99 }]`;
  return tryNatExpectations(DOCUMENT, readNatExpectations(text, "e"))[0]!.found;
}
const tcp = (src: string, dst: string, port: number, node?: string) =>
  found(
    `src: "${src}", dst: "${dst}", protocol: tcp, port: ${port}${node ? `, node: ${node}` : ""}`,
  );

describe("a packet", () => {
  it.each([
    [
      "is not translated",
      tcp("10.244.1.9", "10.244.2.5", 22),
      ["10.244.2.5:22 from 10.244.1.9 untranslated"],
    ],
    [
      "gets one of a service's backends",
      tcp("10.244.2.9", "10.96.0.10", 80),
      [
        "10.244.1.5:8080 from 10.244.2.9 by service web",
        "10.244.2.5:8080 from 10.244.2.9 by service web",
      ],
    ],
    [
      "of a backend itself comes back by the core",
      tcp("10.244.2.5", "10.96.0.10", 80),
      [
        "10.244.1.5:8080 from 10.244.2.5 by service web",
        "10.244.2.5:8080 from 169.254.1.2 by service web, hairpin",
      ],
    ],
    [
      "of a backend itself, IPv6",
      tcp("fd00:244:1::5", "fd00:96::1", 80),
      ["[fd00:244:1::5]:80 from fd00:244:1::ffff by service six, hairpin"],
    ],
    [
      "of this node itself to a backend here comes back by the core",
      tcp("10.244.1.1", "10.96.0.10", 80),
      [
        "10.244.1.5:8080 from 169.254.1.2 by service web, hairpin",
        "10.244.2.5:8080 from 10.244.1.1 by service web",
      ],
    ],
    [
      "from outside gets a source to which replies come back",
      tcp("203.0.113.9", "10.96.0.10", 80, "h1"),
      [
        "10.244.1.5:8080 from 203.0.113.9 by service web",
        "10.244.2.5:8080 from 10.244.1.1 by service web, return traffic",
      ],
    ],
    [
      "to a service without a backend",
      tcp("10.244.1.9", "10.96.0.11", 80),
      ["dropped: no-backend"],
    ],
    [
      "to a published port of another node",
      tcp("10.244.2.9", "10.244.1.1", 8080),
      ["10.244.1.20:80 from 10.244.2.9 by port 10.244.1.1:8080/tcp"],
    ],
    [
      "to a published port that leads to a third node",
      tcp("10.244.9.9", "10.244.2.1", 8081),
      ["10.244.1.20:80 from 10.244.2.1 by port 10.244.2.1:8081/tcp, return traffic"],
    ],
    [
      "is masqueraded",
      tcp("192.0.2.7", "10.244.2.5", 22, "h1"),
      ["10.244.2.5:22 from 10.244.1.1 by masquerade 0"],
    ],
    [
      "gets an address of a pool",
      tcp("10.244.2.5", "198.51.100.7", 22),
      ["198.51.100.7:22 from 10.244.2.240/28 by snat 0"],
    ],
    [
      "gets an address",
      tcp("10.244.2.5", "198.51.101.7", 22),
      ["198.51.101.7:22 from 10.244.2.239 by snat 1"],
    ],
    [
      "leaves by the first living gateway",
      tcp("10.244.1.5", "203.0.113.7", 22),
      ["203.0.113.7:22 from 192.0.2.250 by egress 0 via h2"],
    ],
    ["has no gateway", tcp("10.244.9.5", "203.0.113.7", 22), ["dropped: no-gateway"]],
    [
      "of a gateway's sources stays in the overlay",
      tcp("10.244.1.5", "10.244.2.5", 22),
      ["10.244.2.5:22 from 10.244.1.5 untranslated"],
    ],
    [
      "of a mapped site",
      tcp("10.1.0.7", "10.244.2.5", 22, "h3"),
      ["10.244.2.5:22 from 10.244.9.7 by netmap 0"],
    ],
    [
      "to a mapped site",
      tcp("10.244.2.5", "10.244.9.7", 22),
      ["10.1.0.7:22 from 10.244.2.5 by netmap 0"],
    ],
  ])("%s", (_, result, expected) => {
    expect(result).toEqual(expected);
  });
});

describe("an expectation", () => {
  const isMet = (keys: string) => {
    const packet = "src: 10.244.2.9, dst: 10.96.0.10, protocol: tcp, port: 80";
    const text = `${NODES}\nexpect:\n  - { ${packet}, ${keys} }`;
    return tryNatExpectations(DOCUMENT, readNatExpectations(text, "e"))[0]!.isMet;
  };

  it.each([
    ["to: [10.244.2.5:8080, 10.244.1.5:8080]", true],
    ["to: [10.244.2.5:8080]", false],
    ["to: 10.244.2.5:8080", false],
    ["source: 10.244.2.9", true],
    ["source: 10.244.2.1", false],
    ["by: service web", true],
    ["by: service six", false],
    ["via: h1", false],
    ["drop: no-backend", false],
  ])("%s: %s", (keys, expected) => {
    expect(isMet(keys)).toBe(expected);
  });

  it.each([
    ["src: 10.244.2.9, dst: 10.96.0.10, protocol: tcp, port: 80", "nothing is expected"],
    ["src: 10.244.2.9, dst: 'fd00::1', protocol: tcp, port: 80, to: 10.0.0.1:80", "two families"],
    [
      "src: 10.244.2.9, dst: 10.96.0.10, protocol: tcp, port: 80, form: 10.0.0.1",
      '"form" is not a known name',
    ],
    [
      "src: 192.0.2.9, dst: 10.96.0.10, protocol: tcp, port: 80, via: h1",
      "line 3: no node owns src",
    ],
    [
      "src: 192.0.2.9, node: h9, dst: 10.96.0.10, protocol: tcp, port: 80, via: h1",
      'line 3: "h9" is not among',
    ],
  ])("with a mistake: %s", (keys, said) => {
    const text = `${NODES}\nexpect:\n  - { ${keys} }`;
    try {
      tryNatExpectations(DOCUMENT, readNatExpectations(text, "e"));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(WeftError);
      expect((error as WeftError).code).toBe("NAT_TEST");
      expect((error as WeftError).message).toContain(said);
    }
  });
});
