import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Document } from "yaml";
import { formatAddress, formatPrefix, parsePrefix } from "../../src/address.js";
import { loadConfig, underlayOutside } from "../../src/config/config.js";
import { split } from "../../src/config/secret.js";
import { flags as help, settings } from "../../src/config/settings.js";
import { WeftError } from "../../src/error.js";
import { ALIAS_BOMB } from "../config/alias-bomb.js";
import { file, folder } from "./weft.js";

const seed = Number(process.env.WEFT_SEED ?? Date.now() % 2 ** 31);
console.log(`config: WEFT_SEED=${seed}`);

const AROUND = { hostname: "Host-1.example.org", secret: "0123456789abcdef" };
const load = (flags: object, yaml?: string, around = AROUND) =>
  loadConfig(flags, yaml === undefined ? undefined : file("weft.yaml", yaml), around);

/** The error as a person sees it, without the directory of this test's file. */
function wrong(flags: object, yaml?: string, around = AROUND): string {
  try {
    load(flags, yaml, around);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    expect(error.code).toBe("CONFIG");
    return `${error.message} -> ${error.remedy}`.replace(/\S*\/weft\.yaml/g, "weft.yaml");
  }
  return "it was taken";
}

const peer = (fields: Record<string, string> = {}) =>
  Object.entries({
    name: "f",
    endpoint: "192.0.2.9:4789",
    mac: "02:00:00:00:00:09",
    subnets: "10.9.0.0/24",
    ...fields,
  })
    .map((pair) => pair.join("="))
    .join(",");

describe("what is not given has a default", () => {
  it("of every setting", () => {
    const { network, ...rest } = load({});
    expect(network.map(formatPrefix)).toEqual(["10.244.0.0/16"]);
    expect(rest).toEqual({
      name: "host-1",
      networkGiven: false,
      subnetLen: 24,
      subnetLen6: 64,
      join: [],
      vni: 1,
      port: 4789,
      meshPort: 6783,
      tun: "weft0",
      dscp: 0,
      offloads: { tso: true, uso: true, gso: true, gro: true },
      leases: 1,
      release: false,
      throughCore: false,
      workloadInterfaces: [],
      pickUp: true,
      keepFlows: false,
      busyPoll: 0,
      flows: 65_536,
      secrets: ["0123456789abcdef"],
      staticPeers: [],
      state: "/var/lib/weft",
      socket: "/run/weft/weft.sock",
    });
  });

  it("and an empty file changes nothing", () => expect(load({}, "")).toEqual(load({})));
});

describe("a value is read strictly", () => {
  it.each<[string, string | string[], string]>([
    ["name", "", "it has no value"],
    ["name", "-rf", '"-rf" is not a node name'],
    ["name", "../x", '"../x" is not a node name'],
    ["name", "a".repeat(64), "is not a node name"],
    ["network", "10.244.0.0", "is not a network prefix"],
    ["network", "10.244.0.0/08", "is not a network prefix"],
    ["network", "10.244.0.1/16", "did you mean 10.244.0.0/16?"],
    ["network", "10.1.0.0/16,10.2.0.0/16", "names 2 IPv4 networks"],
    ["network", "fd01::/48,10.1.0.0/16,fd02::/48", "names 2 IPv6 networks"],
    ["network", "fd00:244::/48,", '"" is not a network prefix'],
    ["network", "fd00:244::1/48", "did you mean fd00:244::/48?"],
    ["network", "fd00:244::/129", "has a prefix length over 128"],
    ["network", "fd00:244::/064", "is not a network prefix"],
    ["network", "224.0.0.0/8", "which hosts cannot use"],
    ["network", "0.0.0.0/0", "which hosts cannot use"],
    ["network", "::/0", "which hosts cannot use"],
    ["network", "::/8", "which hosts cannot use"],
    ["network", "ff00::/8", "which hosts cannot use"],
    ["network", "fe80::/64", "is link-local"],
    ["network", "fe00::/8", "overlaps fe80::/10, which hosts cannot use"],
    ["workload-interfaces", "veth*,", '"" is not a pattern of interface names'],
    ["workload-interfaces", "veth[0-9]", '"veth[0-9]" is not a pattern of interface names'],
    ["workload-interfaces", "a-name-too-long-", "is not a pattern of interface names"],
    ["workload-interfaces", Array(65).fill("a").join(), "65 patterns are more than 64"],
    ["workload-interfaces", "veth*", "it has no effect without --through-core"],
    ["subnet-len", "31", "is not a whole number from 1 to 30"],
    ["subnet-len", "24.0", "is not a whole number"],
    ["subnet-len", "16", "10.244.0.0/16 has no room for two leases of /16"],
    ["subnet-len-6", "127", "is not a whole number from 1 to 126"],
    ["join", ["010.0.0.1"], "write each octet without leading zeros"],
    ["join", ["1.2.3"], '"1.2.3" is not an IP address'],
    ["join", ["0x7f.0x1"], "is not an IP address"],
    ["join", ["a b"], "neither an IP address nor a host name"],
    ["join", ["h1:0"], '"0" is not a whole number from 1 to 65535'],
    ["join", ["h1:6783:1"], '"h1:6783:1" is not an IP address'],
    ["join", ["[::1"], '"[::1" is not an IP address'],
    ["join", ["[::1]6783"], '"[::1]6783" is not an IP address'],
    ["join", ["[fd00::1]:"], '"" is not a whole number'],
    ["join", ["[192.0.2.1]:6783"], "neither an IP address nor a host name"],
    ["join", ["[fd00::1%eth0]:6783"], "fd00::1%eth0 is link-local"],
    ["join", ["fe80::1"], "fe80::1 is link-local"],
    ["underlay", "010.0.0.1", "write each octet without leading zeros"],
    ["underlay", "fe80::1", "give a global or unique local address"],
    ["underlay", "fe80::1%eth0", "fe80::1%eth0 is link-local"],
    ["underlay", "::ffff:c000:201", "is not an address of a host"],
    ["underlay", "::", "is not an address of a host"],
    ["underlay", "ff02::1", "is not an address of a host"],
    ["underlay", "fd00:0:0:0:0:0:0:0:1", "is not an IP address"],
    ["underlay", "0.0.0.0", "is not an address of a host"],
    ["underlay", "10.244.3.1", "10.244.0.0/16 overlaps the underlay 10.244.3.1/32"],
    ["vni", "0", "is not a whole number from 1 to 16777215"],
    ["vni", "16777216", "is not a whole number from 1 to 16777215"],
    ["vni", "0x10", "is not a whole number"],
    ["port", "65536", "is not a whole number from 1 to 65535"],
    ["mesh-port", "-1", "is not a whole number from 1 to 65535"],
    ["mtu", "575", "is not a whole number from 576 to 65535"],
    ["no-tso", "yes", '"yes" is neither true nor false'],
    ["dscp", "64", '"64" is not a DSCP'],
    ["dscp", "EF", "give a number from 0 to 63, like 46 for EF, or inherit"],
    ["no-gro", "1", '"1" is neither true nor false'],
    ["busy-poll", "1000001", "is not a whole number from 0 to 1000000"],
    ["sessions", "1", "is not a whole number from 2 to 256"],
    ["sessions", "257", "is not a whole number from 2 to 256"],
    ["flows", "100000", "is not a power of two"],
    ["flows", "32", "is not a whole number from 64 to 1048576"],
    ["busy-poll", "-1", "is not a whole number from 0 to 1000000"],
    ["tun", "a/b", "is not a device name"],
    ["tun", "..", "is not a device name"],
    ["tun", "weft%d", "is not a device name"],
    ["tun", "sixteen-letters-", "is not a device name"],
    ["tun", "all", "a device name that Linux reserves"],
    ["socket", `/${"s".repeat(107)}`, "longer than the 107 bytes"],
    ["http", "0.0.0.0:80", "can be reached from other hosts"],
    ["http", "192.0.2.1:80", "can be reached from other hosts"],
    ["http", "[fd00::1]:80", "can be reached from other hosts"],
    ["http", "localhost:80", "is not an IP address"],
    ["static-peer", [peer({ mac: "02:00" })], 'mac: "02:00" is not a MAC address'],
    ["static-peer", [peer({ mac: "ff:ff:ff:ff:ff:ff" })], "multicast MAC"],
    ["static-peer", [peer({ endpoint: "192.0.2.9" })], "is not an endpoint"],
    ["static-peer", [peer({ subnets: "" })], "subnets: it has no value"],
    ["static-peer", [peer({ subnets: "192.0.2.0/24" })], "holds the endpoint address 192.0.2.9"],
    ["static-peer", [peer({ subnets: "10.0.0.0/8" })], "covers the whole cluster network"],
    ["static-peer", [peer({ subnets: "10.9.0.0/24+10.9.0.128/25" })], "overlaps 10.9.0.0/24 of f"],
    ["static-peer", [peer({ endpoint: "2001:db8::9:4789" })], "is not an endpoint"],
    ["static-peer", [peer({ endpoint: "[fe80::9]:4789" })], "fe80::9 is link-local"],
    ["static-peer", [peer({ subnets: "10.9.0.0/24+fd00:9::1/64" })], "did you mean fd00:9::/64?"],
    [
      "static-peer",
      [peer({ subnets: "fd00:9::/64" })],
      "fd00:9::/64 of f is IPv6, and the cluster network has no IPv6 -> add an IPv6 prefix to --network",
    ],
    ["static-peer", [peer({ name: "host-1" })], "host-1 belongs to more than one node"],
    ["static-peer", [peer(), peer({ name: "g" })], "192.0.2.9:4789 belongs to more than one node"],
    [
      "static-peer",
      [peer(), peer({ name: "g", endpoint: "192.0.2.8:1", mac: "02:00:00:00:00:08" })],
      "10.9.0.0/24 of g overlaps 10.9.0.0/24 of f",
    ],
    ["static-peer", [`${peer()},mac=x`], '"mac=x" is given twice'],
    ["static-peer", ["f"], '"f" is not KEY=VALUE'],
    ["static-peer", [peer().replace("subnets", "subnet")], 'did you mean "subnets"?'],
    ["secret-file", "/nonexistent/secret", "does not exist"],
  ])("%s: %j", (key, value, words) => expect(wrong({ [key]: value })).toContain(words));

  it("and said with the flag it came from", () => {
    expect(wrong({ mtu: "08" })).toMatch(/^--mtu: /);
    expect(wrong({ "static-peer": [peer({ mac: "x" })] })).toMatch(/^--static-peer mac: /);
  });
});

const DUAL = "10.244.0.0/16,fd00:244::/48";
const AT_6 = "[2001:db8::9]:4789";

describe("settings of both families are held against one another", () => {
  it.each<[object, string]>([
    [
      { network: "fd00:244::/64" },
      "fd00:244::/64 has no room for two leases of /64 -> give a wider network, or a --subnet-len-6 from 65 to 126",
    ],
    [{ network: "fd00::/127" }, "has no room for two leases of /64 -> give a wider network"],
    [{ network: DUAL, "subnet-len-6": "48" }, "no room for two leases of /48"],
    [{ network: DUAL, "subnet-len": "16" }, "10.244.0.0/16 has no room for two leases of /16"],
    [
      { network: DUAL, underlay: "fd00:244:0:9::1" },
      "fd00:244::/48 overlaps the underlay fd00:244:0:9::1/128",
    ],
    [
      { network: DUAL, "static-peer": [peer({ subnets: "fd00::/16" })] },
      "fd00::/16 of f covers the whole cluster network",
    ],
    [
      {
        network: DUAL,
        "static-peer": [peer({ subnets: "fd00:9::/48+10.9.0.0/24+fd00:9:0:1::/64" })],
      },
      "fd00:9:0:1::/64 of f overlaps fd00:9::/48 of f",
    ],
    [
      { network: DUAL, "static-peer": [peer({ subnets: "2001:db8::/64", endpoint: AT_6 })] },
      "2001:db8::/64 of f holds the endpoint address 2001:db8::9",
    ],
    [
      { network: "fd00:244::/48", "static-peer": [peer()] },
      "10.9.0.0/24 of f is IPv4, and the cluster network has no IPv4",
    ],
    [
      { underlay: "192.0.2.1", "static-peer": [peer({ endpoint: AT_6 })] },
      "the static peer f is at the IPv6 endpoint [2001:db8::9]:4789, and the underlay is IPv4",
    ],
    [
      { underlay: "2001:db8::1", "static-peer": [peer()] },
      "the static peer f is at the IPv4 endpoint 192.0.2.9:4789, and the underlay is IPv6",
    ],
  ])("%j", (flags, words) => expect(wrong(flags)).toContain(words));

  it.each<[object]>([
    [{ network: DUAL, "static-peer": [peer({ subnets: "10.9.0.0/24+fd00:9::/64" })] }],
    [{ network: DUAL, underlay: "fd00:245::1" }],
    [{ network: "fd00:244::/48", "subnet-len": "16" }],
    [{ join: ["fd00::1"], "static-peer": [peer({ subnets: "fd00:9::/64" })] }],
  ])("and %j is taken", (flags) => expect(wrong(flags)).toBe("it was taken"));
});

it("the network is one prefix of each family, IPv4 first, however it is written", () => {
  const shown = (network: string) => load({ network }).network.map(formatPrefix);
  expect(shown(DUAL)).toEqual(["10.244.0.0/16", "fd00:244::/48"]);
  expect(shown("FD00:0244:0::/48,10.244.0.0/16")).toEqual(["10.244.0.0/16", "fd00:244::/48"]);
  expect(shown("fd00:244::/48")).toEqual(["fd00:244::/48"]);
  const listed = load({}, "network: [fd00:244::/48, 10.244.0.0/16]\n").network;
  expect(listed.map(formatPrefix)).toEqual(["10.244.0.0/16", "fd00:244::/48"]);
});

it("a switch is off in what may be used, and a file can name it without meaning it", () => {
  expect(load({ "no-tso": "true" }, "no-gro: true\nno-gso: false\n").offloads).toEqual({
    tso: false,
    uso: true,
    gso: true,
    gro: false,
  });
  expect(load({ "no-pick-up": "true" }).pickUp).toBe(false);
  const workloads = load({ "through-core": "true" }, "workload-interfaces: [veth*, cali?]\n");
  expect(workloads).toMatchObject({ throughCore: true, workloadInterfaces: ["veth*", "cali?"] });
  expect(load({ "busy-poll": "50" }).busyPoll).toBe(50);
  expect(load({}, "sessions: 4\n").sessions).toBe(4);
});

describe("a joiner learns the network", () => {
  it("so the default network is not held against its settings", () => {
    expect(wrong({ join: ["h1"], "subnet-len": "16" })).toBe("it was taken");
    expect(wrong({ join: ["h1"], underlay: "10.244.3.1" })).toBe("it was taken");
  });

  it("unless it names one", () =>
    expect(wrong({ join: ["h1"], network: "10.244.0.0/16", underlay: "10.244.3.1" })).toContain(
      "overlaps the underlay",
    ));
});

it("the network may not overlap the subnet of the underlay interface", () => {
  const config = load({ underlay: "10.1.2.3", "static-peer": [peer()] });
  underlayOutside(config, parsePrefix("10.1.0.0/16"));
  for (const subnet of ["10.0.0.0/8", "10.244.1.0/24", "10.9.0.0/24"]) {
    expect(() => underlayOutside(config, parsePrefix(subnet))).toThrow(`underlay ${subnet}`);
  }
});

describe("the file", () => {
  it.each<[string, string, string]>([
    [
      "an unknown key",
      "name: a\nnetwrok: 10.1.0.0/16\n",
      'weft.yaml:2: netwrok: "netwrok" is not a known name -> did you mean "network"?',
    ],
    ["a number YAML would change", "vni: 010\n", 'weft.yaml:1: vni: "010" is not a whole number'],
    ["an address in a list", "join:\n  - h1\n  - 010.0.0.1\n", "weft.yaml:3: join[1]: "],
    ["a key without a value", "\nmtu:\n", "weft.yaml:2: mtu: it has no value"],
    [
      "a key given twice",
      "name: a\nname: b\n",
      "weft.yaml:2: name: it occurs twice -> keep one of the two",
    ],
    ["a tag", "name: !!int 5\n", "weft.yaml:1: Unresolved tag"],
    ["no settings", "- a\n", "weft.yaml:1: this is not a list of settings"],
    ["broken YAML", "join: [a\nname: b\n", "weft.yaml:"],
    [
      "a peer's missing field",
      `static-peer:\n  - name: f\n`,
      "weft.yaml:2: static-peer[0].endpoint: it has no value",
    ],
    [
      "a peer's wrong field",
      `static-peer:\n  - name: f\n    mac: x\n    endpoint: 192.0.2.9:1\n    subnets: 10.9.0.0/24\n`,
      "weft.yaml:3: static-peer[0].mac: ",
    ],
    [
      "an IPv6 endpoint without quotes",
      "static-peer:\n  - name: f\n    endpoint: [2001:db8::9]:4789\n",
      'an address in brackets needs quotes: "[2001:db8::1]:4789"',
    ],
    ["brackets in brackets", `join: [x,x]\nname: ${"[".repeat(2000)}`, "weft.yaml:2: "],
    ["an alias bomb", ALIAS_BOMB, "weft.yaml:2: this is a reference to another part of the text"],
    ["an alias of what holds it", "a: &a\n  b: *a\n", "weft.yaml:2: this is a reference to"],
    ["an alias of nothing", "join: *a\n", "weft.yaml:1: "],
    ["a key that is a list", "? [a, b]\n: c\n", "weft.yaml:1: a key is a list or a map"],
    ["several documents", "name: a\n---\nname: b\n", "weft.yaml:"],
    ["a mistake at each character", "]".repeat(90_000), "weft.yaml:1: "],
    [
      "too many values",
      `join: [${"h,".repeat(1_025)}]`,
      "weft.yaml:1: join: it has more than 1024",
    ],
    ["keys without end", "a:\n".repeat(20_000), "weft.yaml:2: a: it occurs twice"],
    ["more than an agent reads", `join: [${"x, ".repeat(300_000)}]\n`, "more than 100000 words"],
    [
      "settings that contradict one another",
      "subnet-len: 20\nnetwork: 10.1.0.0/20\n",
      "weft.yaml:2: network: 10.1.0.0/20 has no room",
    ],
  ])("with %s is refused by line", (_, yaml, words) =>
    expect(wrong({}, yaml).replace(/\s+/g, " ")).toContain(words),
  );

  it("is refused where it is no regular file, or too large, and reading it ends", () => {
    const from = (path: string) => {
      try {
        return loadConfig({}, path, AROUND);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        return error.message;
      }
    };
    const fifo = join(folder(), "fifo");
    execFileSync("mkfifo", [fifo]);
    for (const path of [fifo, "/dev/zero", "/dev/null", folder()]) {
      expect(from(path)).toContain("is not a regular file");
    }
    expect(from("/nonexistent/weft.yaml")).toContain("does not exist");
    expect(from(file("big", " ".repeat(1024 * 1024 + 1)))).toContain("larger than 1048576 bytes");
    // The system says that it has no bytes.
    expect(from("/proc/self/limits")).toContain("/proc/self/limits:");
  });

  it("names the same place for a key whose value begins on the next line", () =>
    expect(wrong({}, "network:\n  a: b\n")).toContain(
      "weft.yaml:1: network: it takes a single value",
    ));

  it("holds peers as maps, meaning what the flag means", () => {
    const yaml = `static-peer:
  - name: f
    endpoint: 192.0.2.9:4789
    mac: 02:00:00:00:00:09
    subnets: [10.9.0.0/24, 10.10.0.0/24]
`;
    const flag = peer({ subnets: "10.9.0.0/24+10.10.0.0/24" });
    expect(load({}, yaml).staticPeers).toEqual(load({ "static-peer": [flag] }).staticPeers);
  });

  it("yields to the same flag, and is checked all the same", () => {
    expect(load({ vni: "7" }, "vni: 5\nmtu: 1400\n")).toMatchObject({ vni: 7, mtu: 1400 });
    expect(wrong({ vni: "7" }, "vni: x\n")).toContain("weft.yaml:1: vni");
  });

  it("means what the same flags mean, for any text", () => {
    const keys = fc.constantFrom(
      ...Object.keys(settings.shape).filter((key) => key !== "secret-file"),
    );
    const likely = fc.constantFrom(
      "1",
      "24",
      "010",
      "10.1.0.0/16",
      "192.0.2.1",
      "h1:99",
      "fd00::/48",
      "[fd00::1]:99",
      "null",
      "~",
      "1e3",
      "true",
      peer(),
    );
    const text = fc.oneof(likely, fc.string({ unit: "binary", minLength: 1, maxLength: 40 }));
    const outcome = (flags: object, yaml?: string) => {
      try {
        return load(flags, yaml);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        return "refused";
      }
    };
    const property = fc.property(keys, text, (key, value) => {
      const yaml = new Document({ [key]: value }, { schema: "failsafe" }).toString();
      expect(outcome({}, yaml)).toEqual(outcome({ [key]: value }));
    });
    fc.assert(property, { seed, numRuns: 200 });
  });
});

describe("the configuration file", () => {
  it.each([0o620, 0o602, 0o666])("is refused with mode %o", (mode) => {
    const path = file("weft.yaml", "vni: 7\n");
    chmodSync(path, mode);
    expect(() => loadConfig({}, path, AROUND)).toThrow(/can be changed by others than its owner/);
    chmodSync(path, 0o644);
    expect(loadConfig({}, path, AROUND).vni).toBe(7);
  });

  it.runIf(process.geteuid?.() === 0)("is refused where another user owns it", () => {
    const path = file("weft.yaml", "vni: 7\n");
    chownSync(path, 12_345, 0);
    expect(() => loadConfig({}, path, AROUND)).toThrow(/belongs to user 12345, who can change it/);
  });
});

it("a host name may end with the dot of the DNS root, and keeps it", () => {
  const hosts = (join: string) => load({ join: [join] }).join.map(({ host }) => host);
  expect(hosts("node1.example.org.:6783")).toEqual(["node1.example.org."]);
  expect(hosts("node1.")).toEqual(["node1."]);
  for (const join of [".", "a..", "192.0.2.1.", "..:6783"]) {
    expect(wrong({ join: [join] })).toMatch(/^--join/);
  }
});

describe("secrets", () => {
  it("come from a file, one a line", () =>
    expect(
      load({ "secret-file": file("s", "sixteen letters!\nanother sixteen!\n") }).secrets,
    ).toEqual(["sixteen letters!", "another sixteen!"]));

  it.each([0o640, 0o604, 0o660])("are refused from a file of mode %o", (mode) => {
    const path = file("s", "sixteen letters!\n");
    chmodSync(path, mode);
    expect(wrong({ "secret-file": path })).toMatch(/can be read by others.*chmod 600/);
  });

  it("are refused from what is no regular file, from a large file, and from an empty one", () => {
    const fifo = join(folder(), "fifo");
    execFileSync("mkfifo", [fifo]);
    for (const path of [fifo, folder(), "/dev/zero"]) {
      expect(wrong({ "secret-file": path })).toContain("is not a regular file");
    }
    const large = file("s", "x".repeat(64 * 1024 + 1));
    expect(wrong({ "secret-file": large })).toContain("is larger than 65536 bytes");
    expect(wrong({ "secret-file": file("s", "\n") })).toContain("holds no secret");
  });

  const GOOD = "sixteen letters!";
  it.each<[string, string | Buffer, string]>([
    ["zeros", "\0".repeat(32), "line 1 of FILE holds the byte 00: it is not text"],
    [
      "bytes that are no UTF-8",
      Buffer.from("9f".repeat(32), "hex"),
      "line 1 of FILE holds bytes that are not UTF-8: it is not text",
    ],
    ["UTF-16", Buffer.from(`${GOOD}\n`, "utf16le"), "line 1 of FILE holds the byte 00"],
    [
      "UTF-16 with a byte order mark",
      Buffer.from(`\ufeff${GOOD}\n`, "utf16le"),
      "line 1 of FILE holds bytes that are not UTF-8",
    ],
    [
      "a byte order mark",
      `\ufeff${GOOD}\n`,
      "line 1 of FILE begins with a byte order mark (EF BB BF)",
    ],
    ["a tab at the end", `${GOOD}\t\n`, "line 1 of FILE ends with a blank (09)"],
    ["a blank at the end", `${GOOD}\n${GOOD} \r\n`, "line 2 of FILE ends with a blank (20)"],
    ["a blank before", ` ${GOOD}\n`, "line 1 of FILE begins with a blank (20)"],
    ["a no-break space", `${GOOD}\u00a0\n`, "line 1 of FILE ends with a blank (U+00A0)"],
    ["a no-break space inside", `${GOOD}\u00a0more\n`, "line 1 of FILE holds U+00A0, which"],
    ["a zero width space", `six\u200bteen letters!\n`, "line 1 of FILE holds U+200B, which"],
    ["a soft hyphen at the end", `${GOOD}\u00ad\n`, "line 1 of FILE holds U+00AD, which"],
    ["a line of blanks", `${GOOD}\n   \n`, "line 2 of FILE"],
    ["a tab inside", `sixteen\tletters!\n`, "line 1 of FILE holds a tab (09)"],
    ["an old line end", `${GOOD}\r${GOOD}\r`, "line 1 of FILE holds the byte 0D"],
    ["a comment", `# Ansible managed\n${GOOD}\n`, "line 1 of FILE begins as a comment does"],
    ["a comment of an INI file", `; letters\n${GOOD}\n`, "line 1 of FILE begins as a comment does"],
    ["a comment of C", `// the letters\n${GOOD}\n`, "line 1 of FILE begins as a comment does"],
    ["a comment of CSS", `/* the letters */\n${GOOD}\n`, "line 1 of FILE begins as a comment"],
    ["a variable", `WEFT_SECRET=${GOOD}\n`, "line 1 of FILE looks like a setting"],
    ["a shell's variable", `export PSK='${GOOD}'\n`, "line 1 of FILE looks like a setting"],
    ["a key of YAML", `cluster-secret: ${GOOD}\n`, "line 1 of FILE looks like a setting"],
    ["a key of JSON", `"secret": "${GOOD}"\n`, "line 1 of FILE looks like a setting"],
    [
      "a template",
      "{{ weft_letters }}\n",
      "line 1 of FILE is a placeholder that was not filled in",
    ],
    ["a reference", `${GOOD}\n\${THE_LETTERS_HERE}\n`, "line 2 of FILE is a placeholder"],
    ["a key of OpenSSL", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE\n", "is part of a PEM"],
  ])("are refused from a file with %s, by line and byte", (_, bytes, said) => {
    const path = file("s", "");
    writeFileSync(path, bytes);
    const message = wrong({ "secret-file": path });
    expect(message).toContain(said.replace("FILE", `--secret-file: ${path}`));
    expect(message).not.toContain("letters");
  });

  it("are taken as they are where they are base64, hex, a UUID or words", () => {
    const secrets = [
      "//8AAP//uVsA3k0dVq8TN0y6Zb2mXcJ5r1w7oKeYhQk=",
      "c2VjcmV0a2V5cHNrdG9rZW4=",
      "8f14e45fceea167a5a36dedd4bea2543",
      "123e4567-e89b-12d3-a456-426614174000",
      "my key: a horse, a battery = power",
      "Größe, œuvre, пароль и 合言葉",
    ];
    expect(load({ "secret-file": file("s", secrets.join("\n")) }).secrets).toEqual(secrets);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 64 }), (bytes) => {
        const random = Buffer.from(bytes);
        const spelled = [random.toString("base64"), random.toString("base64url")];
        expect(split(spelled.join("\n"), "it")).toEqual(spelled);
      }),
    );
  });

  it("are the same with the line ends of Windows, and with empty lines", () =>
    expect(load({ "secret-file": file("s", `\r\n${GOOD}\r\n\r\n`) }).secrets).toEqual([GOOD]));

  it.runIf(process.geteuid?.() === 0)("are refused from a file that another user owns", () => {
    const path = file("s", "sixteen letters!\n");
    chownSync(path, 12_345, 0);
    expect(wrong({ "secret-file": path })).toContain("belongs to user 12345, who can change it");
  });

  it("have at least 16 characters, which the error does not repeat", () => {
    const message = wrong({}, undefined, { ...AROUND, secret: "fifteen letters" });
    expect(message).toContain("line 1 of WEFT_SECRET is a secret shorter than 16 characters");
    expect(message).not.toContain("fifteen letters");
  });
});

it("a host name that is no node name asks for --name", () => {
  const around = { ...AROUND, hostname: "my_host" };
  expect(wrong({}, undefined, around)).toContain("pass --name");
  expect(load({ name: "h1" }, undefined, around).name).toBe("h1");
});

it("every setting has help", () => {
  for (const setting of Object.values(settings.shape)) expect(help.get(setting)?.help).toBeTruthy();
});

it("addresses to dial keep their host and port", () => {
  const dialled = ["h1", "192.0.2.1:99", "fd00::1", "[FD00:0::2]", "[fd00::3]:99", "::1"];
  const { join, underlay } = load({ join: dialled, underlay: "192.0.2.7" });
  expect(join).toEqual([
    { host: "h1", port: 6783 },
    { host: "192.0.2.1", port: 99 },
    { host: "fd00::1", port: 6783 },
    { host: "fd00::2", port: 6783 },
    { host: "fd00::3", port: 99 },
    { host: "::1", port: 6783 },
  ]);
  expect(underlay && formatAddress(underlay)).toBe("192.0.2.7");
});
