/** The document of address translation: what it means, and what each mistake in it says. */
import { describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../../src/address.js";
import { WeftError } from "../../src/error.js";
import { MAX_NAT_DOCUMENT, natAsJson, readNat, readSealedNat } from "../../src/nat/document.js";
import { WHOLE } from "./documents.js";

/** The error that a document gives, as `what | remedy`. */
function mistake(text: string): string {
  try {
    readNat(text, "n.yaml");
  } catch (error) {
    if (error instanceof WeftError && error.code === "NAT") {
      return `${error.message} | ${error.remedy}`;
    }
    throw error;
  }
  return "no mistake";
}

const service = (more: string, name = "web") =>
  `  - { name: ${name}, protocol: tcp, address: 10.96.0.10, port: 80, ${more} }`;
const services = (...lines: string[]) => `services:\n${lines.join("\n")}`;
const list = (section: string, ...rules: string[]) =>
  `${section}:\n${rules.map((rule) => `  - { ${rule} }`).join("\n")}`;

describe("a document of address translation", () => {
  it("is what it says", () => {
    const nat = readNat(WHOLE, "n.yaml");
    expect(nat).toMatchObject({ profile: "rfc", perSource: 2048, masqueradeOutside: true });
    const [web, dns, six] = nat.services;
    expect(web).toMatchObject({
      name: "web",
      line: 4,
      protocol: 6,
      address: parseAddress("10.96.0.10"),
      port: 80,
      byClient: true,
      affinityMs: 1_800_000,
      check: { kind: "http", path: "/health", interval: 5_000, timeout: 2_000 },
    });
    expect(web!.backends).toEqual([
      { address: parseAddress("10.244.1.5"), port: 8080, weight: 1, drain: false },
      { address: parseAddress("10.244.2.5"), port: 8080, weight: 2, drain: false },
      { address: parseAddress("10.244.3.5"), port: 8080, weight: 1, drain: true },
    ]);
    expect(dns).toMatchObject({ protocol: 17, byClient: false, affinityMs: 0 });
    expect(dns).not.toHaveProperty("check");
    expect(six).toMatchObject({ protocol: 132, byClient: true, affinityMs: 0 });
    expect(nat.ports.map(({ at }) => at)).toEqual([
      { kind: "address", address: parseAddress("10.244.1.1") },
      { kind: "node", name: "h2" },
      { kind: "host" },
      { kind: "host", name: "h2" },
    ]);
    expect(nat.masquerade).toEqual([
      { line: 27, from: parsePrefix("192.0.2.0/24"), to: parsePrefix("10.244.0.0/16") },
    ]);
    expect(nat.snat).toMatchObject([
      { addresses: parsePrefix("10.244.1.250/32"), ports: { low: 20_000, high: 29_999 } },
      { addresses: parsePrefix("10.244.2.240/28") },
    ]);
    expect(nat.netmap).toMatchObject([
      { from: parsePrefix("10.1.0.0/24"), to: parsePrefix("10.244.9.0/24") },
      { from: parsePrefix("10.1.0.0/24"), to: parsePrefix("10.244.10.0/24") },
    ]);
    expect(nat.egress).toMatchObject([
      {
        via: ["h1", "h2"],
        address: parseAddress("192.0.2.250"),
        from: [parsePrefix("10.244.2.0/24")],
      },
    ]);
  });

  it("may be empty of everything but its braces", () => {
    expect(readNat("{}", "n")).toMatchObject({ perSource: 4096, services: [], egress: [] });
    expect(readNat("{}", "n")).not.toHaveProperty("profile");
  });

  it("says the same as JSON, on the same lines", () => {
    const json = natAsJson(WHOLE, "n");
    expect(readSealedNat(json, "n")).toEqual(readNat(WHOLE, "n"));
    expect(natAsJson(json, "n")).toBe(json);
  });

  it("from another node is JSON", () => {
    expect(() => readSealedNat(WHOLE, "nat")).toThrow("nat:1: this is not JSON");
  });

  it("is refused when it is too long", () => {
    expect(mistake(" ".repeat(MAX_NAT_DOCUMENT + 1))).toContain("characters are more than");
  });
});

describe("a mistake is named with its line, and says what to do", () => {
  it.each([
    ["service: []", 'n.yaml:1: service: "service" is not a known name | did you mean "services"?'],
    ["policies: []", 'n.yaml:1: policies: "policies" is policy, which translates no address'],
    ["profile: linus", 'did you mean "linux"?'],
    ["limits: { perSource: 0 }", "not a whole number from 1 to 65535"],
    ["limits: { persource: 1 }", 'did you mean "perSource"?'],
    ["services: {}", "n.yaml:1: services: this is not a list"],
  ])("%s", (text, said) => {
    expect(mistake(text)).toContain(said);
  });

  it.each([
    ["backend: []", '"backend" is not a known name | did you mean "backends"?'],
    ["affinity: none", '"backends" is missing'],
    ["backends: [10.244.1.5]", 'services[0].backends[0]: "10.244.1.5" is not an endpoint'],
    ["backends: [10.244.1.5:0]", "is not an endpoint"],
    ["backends: [10.244.1.5:65536]", "is not an endpoint"],
    ["backends: [127.0.0.1:80]", "127.0.0.1 is loopback, link-local, multicast or reserved"],
    ["backends: ['[fd00::1]:80']", "of another family than 10.96.0.10"],
    ["backends: [10.244.1.5:80, 10.244.1.5:80]", "backends[1]: 10.244.1.5:80 occurs twice"],
    ["backends: [10.96.0.10:80]", 'is the service "web", and a service is no backend'],
    ["backends: [{ to: 10.244.1.5:80, weight: 0 }]", "not a whole number from 1 to 100"],
    ["backends: [{ to: 10.244.1.5:80, weight: 101 }]", "not a whole number from 1 to 100"],
    ["backends: [{ to: 10.244.1.5:80, drain: yes }]", "neither true nor false"],
    ["backends: [{ to: 10.244.1.5:80, wieght: 2 }]", 'did you mean "weight"?'],
    ["backends: [], affinity: clients", 'did you mean "client"?'],
    ["backends: [], affinity: { client: 30 }", '"30" is not a time from 1s to 24h'],
    ["backends: [], affinity: { client: 25h }", "is not a time from 1s to 24h"],
    ["backends: [], check: { interval: 5s }", "a check is either tcp or http"],
    ["backends: [], check: { tcp: true, http: / }", "a check is either tcp or http"],
    ["backends: [], check: { tcp: false }", "leave check out for none"],
    ["backends: [], check: { http: health }", "begin with /"],
    ["backends: [], check: { tcp: true, interval: 2s, timeout: 3s }", "longer than the interval"],
    ["backends: [], check: { tcp: true, interval: 10ms }", "is not a time from 1s to 1h"],
  ])("services: %s", (more, said) => {
    expect(mistake(services(service(more)))).toContain(said);
    expect(mistake(services(service(more)))).toContain("n.yaml:2: ");
  });

  it.each([
    ["protocol: icmp, address: 10.96.0.1, port: 80", '"icmp" is not known here'],
    ["protocol: tcp, address: 224.0.0.1, port: 80", "224.0.0.1 is loopback, link-local, multicast"],
    ["protocol: tcp, address: 127.0.0.1, port: 80", "127.0.0.1 is loopback"],
    ["protocol: tcp, address: 169.254.1.2, port: 80", "169.254.1.2 is loopback, link-local"],
    ["protocol: tcp, address: '::1', port: 80", "::1 is loopback"],
    ["protocol: tcp, address: 'ff02::1', port: 80", "ff02::1 is loopback, link-local, multicast"],
    ["protocol: tcp, address: 10.96.0.1/32, port: 80", "is not an IP address"],
    ["protocol: tcp, address: 10.96.0.1, port: 0", "not a whole number from 1 to 65535"],
    ["protocol: tcp, address: 10.96.0.1, port: 65536", "not a whole number from 1 to 65535"],
  ])("services: %s", (more, said) => {
    expect(mistake(list("services", `name: a, ${more}, backends: []`))).toContain(said);
  });

  it.each(["-web", "Web", "", "a b", "a".repeat(64)])("services: name %j", (name) => {
    expect(mistake(services(service("backends: []", JSON.stringify(name))))).toMatch(
      /^n\.yaml:2: services\[0\]\.name: (this is not a name|it has no value)/,
    );
  });

  it("two services at one place, or with one name", () => {
    const two = (a: string, b: string) =>
      mistake(services(service("backends: []", a), service("backends: []", b)));
    expect(two("a", "b")).toBe(
      'n.yaml:3: services[1]: 10.96.0.10:80/tcp is the service "a" already (line 2) | give one of them another address or port',
    );
    expect(two("a", "a")).toContain('there are two services "a" (line 2)');
    const dns = "name: b, protocol: udp, address: 10.96.0.10, port: 80, backends: []";
    expect(mistake(`${services(service("backends: []"))}\n  - { ${dns} }`)).toBe("no mistake");
  });

  const at = (address: string, more = "port: 80, to: 10.244.1.20:80") =>
    `protocol: tcp, address: ${address}, ${more}`;

  it.each([
    ["10.244.1.1", "10.244.1.1", "10.244.1.1:80/tcp is published twice (line 2)"],
    ["'node:h2'", "'node:h2'", "node:h2:80/tcp is published twice (line 2)"],
    ["host", "'host:h2'", "host:h2:80/tcp is published twice (line 2)"],
    ["'host:h2'", "host", "host:80/tcp is published twice (line 2)"],
    ["'host:h2'", "'host:h2'", "host:h2:80/tcp is published twice (line 2)"],
  ])("two ports at one place: %s and %s", (one, other, said) => {
    expect(mistake(list("ports", at(one), at(other)))).toContain(`n.yaml:3: ports[1]: ${said}`);
  });

  it.each([
    ["10.244.1.1", "10.244.1.2"],
    ["'node:h2'", "'node:h3'"],
    ["'host:h2'", "'host:h3'"],
    ["host", "'node:h2'"],
  ])("two ports at two places: %s and %s", (one, other) => {
    expect(mistake(list("ports", at(one), at(other)))).toBe("no mistake");
    expect(mistake(list("ports", at(one), at(one, "port: 81, to: 10.244.1.20:80")))).toBe(
      "no mistake",
    );
  });

  it("a port of a node may lead to IPv4 and to IPv6", () => {
    const six = at("'node:h2'", "port: 80, to: '[fd00:244::5]:80'");
    expect(mistake(list("ports", at("'node:h2'"), six))).toBe("no mistake");
  });

  it.each([
    [at("10.244.1.1", "port: 80, to: '[fd00::5]:80'"), "address and to are of two families"],
    [at("hosts"), '"hosts" is not an IP address'],
    [at("'node:'"), '"" is not a node name'],
    [at("'node:H2'"), '"H2" is not a node name'],
    [at("127.0.0.1"), "127.0.0.1 is loopback"],
    [at("10.244.1.1", "port: 80"), '"to" is missing'],
    [at("10.244.1.1", "port: 80, to: 10.244.1.20"), "is not an endpoint"],
  ])("ports: %s", (rule, said) => {
    expect(mistake(list("ports", rule))).toContain(said);
  });

  it("a port at the place of a service, or that leads to one", () => {
    const web = services(service("backends: []"));
    expect(mistake(`${web}\n${list("ports", at("10.96.0.10"))}`)).toContain(
      'n.yaml:4: ports[0]: 10.96.0.10:80/tcp is the service "web" (line 2)',
    );
    const chained = "port: 80, to: 10.96.0.10:80";
    expect(mistake(`${web}\n${list("ports", at("10.244.1.1", chained))}`)).toContain(
      "a service is no backend",
    );
    expect(mistake(`${web}\n${list("ports", at("host", chained))}`)).toBe("no mistake");
  });

  it.each([
    ["masquerade: [inside]", '"inside" is not known here'],
    ["masquerade: [{ from: 10.0.0.0/8, to: '::/0' }]", "from and to are of two families"],
    ["masquerade: [{ from: 10.0.0.0/8 }]", '"to" is missing'],
    ["masquerade: [{ from: 127.0.0.0/8, to: 0.0.0.0/0 }]", "127.0.0.0/8 is loopback"],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 'fd00::/120' }]",
      "from and address are of two families",
    ],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.0.0.1/24 }]",
      "did you mean 10.0.0.0/24?",
    ],
    ["snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 0.0.0.0/0 }]", "0.0.0.0/0 is loopback"],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.0.0.1, ports: 9-5 }]",
      "did you mean 5-9?",
    ],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.0.0.1, ports: 0-5 }]",
      "port 0 cannot be used",
    ],
    [
      "snat: [{ from: 10.0.0.0/8, to: 0.0.0.0/0, address: 10.0.0.1, port: 5 }]",
      'did you mean "ports"?',
    ],
    [
      "netmap: [{ from: 10.1.0.0/24, to: 10.244.9.0/25 }]",
      "10.1.0.0/24 and 10.244.9.0/25 are of unequal length",
    ],
    ["netmap: [{ from: 10.1.0.0/24, to: 10.1.0.0/24 }]", "10.1.0.0/24 overlaps 10.1.0.0/24"],
    ["netmap: [{ from: 10.1.0.0/24, to: 'fd00::/120' }]", "from and to are of two families"],
    ["netmap: [{ from: 0.0.0.0/0, to: 0.0.0.0/0 }]", "0.0.0.0/0 is loopback"],
    [
      "egress: [{ from: [10.0.0.0/8], to: ['::/0'], via: [h1], address: 192.0.2.1 }]",
      "egress[0].to[0]: address and to are of two families: ::/0 is IPv6",
    ],
    [
      "egress: [{ from: ['fd00::/8'], to: [0.0.0.0/0], via: [h1], address: 192.0.2.1 }]",
      "egress[0].from[0]: address and from are of two families",
    ],
    [
      "egress: [{ from: 10.0.0.0/8, to: [0.0.0.0/0], via: [h1], address: 192.0.2.1 }]",
      "this is not a list",
    ],
    [
      "egress: [{ from: [10.0.0.0/8], to: [0.0.0.0/0], via: [], address: 192.0.2.1 }]",
      "an empty list",
    ],
    [
      "egress: [{ from: [10.0.0.0/8], to: [0.0.0.0/0], via: [h1, h1], address: 192.0.2.1 }]",
      '"h1" occurs twice',
    ],
    [
      "egress: [{ from: [10.0.0.0/8], to: [0.0.0.0/0], via: [h1], address: 192.0.2.0/28 }]",
      "is not an IP address",
    ],
  ])("%s", (text, said) => {
    expect(mistake(text)).toContain(said);
    expect(mistake(text)).toContain("n.yaml:1: ");
  });

  it.each([
    ["from: 10.1.0.0/24, to: 10.244.9.0/24", "from: 10.2.0.0/24, to: 10.244.9.0/24"],
    ["from: 10.1.0.0/24, to: 10.244.9.0/24", "from: 10.244.9.0/24, to: 10.244.8.0/24"],
    ["from: 10.1.0.0/24, to: 10.244.9.0/24", "from: 10.3.0.0/24, to: 10.1.0.0/24"],
  ])("netmap prefixes that overlap: %s and %s", (one, other) => {
    expect(mistake(list("netmap", one, other))).toMatch(
      /^n\.yaml:3: netmap\[1\]: .* overlaps .* \(line 2\)/,
    );
  });
});

describe("limits have names and are kept", () => {
  const many = (count: number, make: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => make(i));
  const rule = "from: 10.0.0.0/8, to: 0.0.0.0/0";

  it("services, backends and rules", () => {
    const some = (count: number) =>
      mistake(
        list(
          "services",
          ...many(
            count,
            (i) => `name: s${i}, protocol: tcp, address: 10.96.0.1, port: ${i + 1}, backends: []`,
          ),
        ),
      );
    expect(some(1024)).toBe("no mistake");
    expect(some(1025)).toContain("1025 items are more than 1024");
    const backends = (count: number) =>
      mistake(services(service(`backends: [${many(count, (i) => `10.244.1.1:${i + 1}`)}]`)));
    expect(backends(256)).toBe("no mistake");
    expect(backends(257)).toContain("257 items are more than 256");
    expect(mistake(list("masquerade", ...many(256, () => rule)))).toBe("no mistake");
    expect(mistake(list("masquerade", ...many(257, () => rule)))).toContain("more than 256");
  });

  it("pairs of sources and destinations of egress", () => {
    const pairs = (count: number) =>
      mistake(
        list(
          "egress",
          `from: [10.0.0.0/8, 10.1.0.0/16], to: [${many(count, (i) => `192.0.2.${i}`)}], via: [h1], address: 192.0.2.1`,
        ),
      );
    expect(pairs(128)).toBe("no mistake");
    expect(pairs(129)).toContain(
      "there are 258 pairs of a source and a destination, more than 256",
    );
  });
});
