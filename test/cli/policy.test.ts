/** The verbs about the policy, its flows and its reasons, against a control socket. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { type KnownNode, progressOf } from "../../src/document-sync/progress.js";
import { MAX_DOCUMENT } from "../../src/policy/document.js";
import { readPcap } from "../golden/pcap.js";
import {
  asked,
  EXPLANATION,
  FLOWS,
  file,
  folder,
  HASH,
  NODE_H1,
  NODE_H2,
  POLICY,
  serve,
  view,
  WEFT,
  weft,
} from "./weft.js";

const YAML = `policies:
  - name: web
    applies: [10.244.7.80]
    ingress:
      - { action: allow, protocol: tcp, ports: [80] }
`;
const REPORT = {
  version: 3,
  hash: HASH,
  rules: { egress: 0, ingress: 2 },
  absent: [],
  outside: [],
  unseen: [],
};
const APPLIED = `version 3 (${HASH}) is the newest policy: 0 egress and 2 ingress rules here\n`;
const NEWEST = { version: 3, hash: HASH };
const old = [{ kind: "policy", version: 2, hash: "00".repeat(8) }];
const SLOW: KnownNode = { name: "h3", id: "03", state: "established", documents: old };
const CUT_OFF: KnownNode = { ...SLOW, state: "no-mesh" };
const none = [{ kind: "policy", version: 0 }];
const GONE: KnownNode = { name: "h4", id: "04", state: "unreachable", documents: none };
/** An agent that knows these nodes besides. */
const reached = (...others: KnownNode[]) => ({
  ...view(),
  policyProgress: () => progressOf("policy", NEWEST, [NODE_H2, ...others, NODE_H1]),
});
const nobody = () => join(folder(), "weft.sock");

describe("weft policy apply", () => {
  it("says what it came to", async () => {
    const path = file("policy.yaml", YAML);
    expect(await weft(["policy", "apply", path, "--socket", await serve()])).toEqual({
      code: 0,
      stdout: `${APPLIED}in force on 2 of 2 known nodes\n`,
      stderr: "",
    });
  });

  it("names the nodes that have it not, and why; that is no failure", async () => {
    const path = file("policy.yaml", YAML);
    const { code, stdout, stderr } = await weft([
      "policy",
      "apply",
      path,
      "--socket",
      await serve(reached(CUT_OFF, GONE)),
    ]);
    expect(code).toBe(0);
    expect(stdout).toBe(`${APPLIED}in force on 2 of 4 known nodes\n`);
    expect(stderr).toBe(
      `not on h3: it has no mesh session with any member; it said last: version 2
not on h4: it is unreachable; it said last: none
nodes that the mesh reaches get it later: see weft policy get, or wait with --wait
`,
    );
  });

  it("with --wait ends when the last living node has it, and says how far it is", async () => {
    let left = 4;
    const control = {
      ...view(),
      policyProgress: () =>
        progressOf("policy", NEWEST, [
          ...(left-- > 0 ? [SLOW] : [{ ...SLOW, documents: NODE_H1.documents }]),
          GONE,
          NODE_H1,
        ]),
    };
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--wait", "--socket"];
    expect(await weft([...argv, await serve(control)])).toEqual({
      code: 0,
      stdout: `${APPLIED}in force on 2 of 3 known nodes\n`,
      stderr: `in force on 1 of 3 known nodes; waiting for h3
not on h4: it is unreachable; it said last: none
`,
    });
  });

  it("with --wait SECONDS exits 1 and names the missing when time is up", async () => {
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--wait", "1", "--socket"];
    const { code, stderr } = await weft([...argv, await serve(reached(SLOW))]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^in force on 2 of 3 known nodes; waiting for h3\nnot on h3: it said last: version 2\nnot all had it after 1 seconds\n$/,
    );
  });

  it("with --wait names the first of many that it waits for", async () => {
    const many = Array.from({ length: 10 }, (_, i) => ({ ...SLOW, name: `n${10 - i}` }));
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--wait", "1", "--socket"];
    const { stderr } = await weft([...argv, await serve(reached(...many))]);
    expect(stderr).toMatch(/waiting for n1, n2, n3, n4, n5, n6, n7, n8 and 2 more\nnot on n1: /);
  });

  it("with --wait exits 1 when another policy takes its place", async () => {
    const control = {
      ...view(),
      policyProgress: () => progressOf("policy", { version: 4, hash: "cd".repeat(8) }, [NODE_H1]),
    };
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--wait", "9", "--socket"];
    const { code, stderr } = await weft([...argv, await serve(control)]);
    expect([code, stderr]).toEqual([1, "version 4 has replaced it meanwhile\n"]);
  });

  it("refuses a time that is none, before anything is applied", async () => {
    const argv = ["policy", "apply", "--wait", file("policy.yaml", YAML), "--socket"];
    const { code, stderr } = await weft([...argv, nobody()]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /--wait .*policy\.yaml is not a number of seconds\n {2}give whole seconds .* a file is named before/,
    );
  });

  it("names packets of this node that no rule applies to", async () => {
    const path = file("policy.yaml", YAML.replace("10.244.7.80", "10.244.7.81"));
    const { code, stderr } = await weft(["policy", "apply", path, "--socket", await serve()]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^no rule applies here: 10\.244\.7\.80\/32, .*: start weft with --through/m,
    );
    expect(stderr).toMatch(/^no rule applies here: this host and its workloads reach each other/m);
  });

  it("with --dry-run prints the result, and the nodes that are not known", async () => {
    const path = file("policy.yaml", YAML.replace("10.244.7.80", "node:h9"));
    const argv = ["policy", "apply", path, "--dry-run", "--socket", await serve()];
    expect(await weft(argv)).toEqual({
      code: 0,
      stdout: "it would be accepted: 0 egress and 2 ingress rules here; nothing has changed\n",
      stderr: "no node has seen these nodes yet: h9\n",
    });
  });

  it.each([["--dry-run"], []])(
    "warns of what no packet can meet, with its place: %j",
    async (...flags) => {
      const path = file("policy.yaml", YAML.replace("10.244.7.80", "192.168.7.0/24"));
      const { code, stderr } = await weft([
        ...["policy", "apply", path, ...flags],
        ...["--socket", await serve()],
      ]);
      expect(stderr).toContain(
        "web applies: 192.168.7.0/24 is outside of the cluster network and of every static peer, " +
          "so no packet has such an address\n",
      );
      expect(code).toBe(0);
    },
  );

  it("takes a policy from stdin, and names line and place of a mistake in it", async () => {
    const argv = ["policy", "apply", "-", "--socket", await serve()];
    expect((await weft(argv, {}, YAML)).stdout).toMatch(
      /^version 3 \(abababababababab\) is the newest policy/,
    );
    const { code, stderr } = await weft(argv, {}, YAML.replace("applies", "aplies"));
    expect(stderr).toMatch(/^weft: <stdin>:3: /);
    expect(code).toBe(2);
  });

  it("reads no more than a policy may have, from whatever does not end", async () => {
    const argv = ["policy", "apply", "/dev/zero", "--socket", await serve()];
    const { code, stderr } = await weft(argv);
    expect(stderr).toBe(
      `weft: /dev/zero is larger than ${3 * MAX_DOCUMENT} bytes\n  let one rule name more addresses and ports\n`,
    );
    expect(code).toBe(2);
  });

  it("with --reset-version says so to the agent", async () => {
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--reset-version"];
    const { stdout } = await weft([...argv, "--socket", await serve()]);
    expect(stdout).toMatch(/^version 1 \(abababababababab\) is the newest policy/);
  });

  it("waits as long as it takes to compile", async () => {
    const applyPolicy = () => sleep(12_000, REPORT);
    const slow = { ...view(), applyPolicy };
    const argv = ["policy", "apply", file("policy.yaml", YAML), "--socket", await serve(slow)];
    expect(await weft(argv)).toMatchObject({ code: 0, stderr: "" });
  });

  it("names file, line and path of a mistake, without an agent", async () => {
    const path = file("policy.yaml", YAML.replace("allow", "alow"));
    const { code, stderr } = await weft(["policy", "apply", path, "--socket", nobody()]);
    expect(code).toBe(2);
    expect(stderr).toBe(
      `weft: ${path}:5: policies[0].ingress[0].action: "alow" is not known here\n  did you mean "allow"?\n`,
    );
  });

  it("says what the agent says", async () => {
    const path = file("policy.yaml", YAML.replace("name: web", "name: too-much"));
    const { code, stderr } = await weft(["policy", "apply", path, "--socket", await serve()]);
    expect([code, stderr]).toEqual([1, "weft: too many rules\n  use fewer\n"]);
  });

  it.each([
    ["a file that is not there", () => join(folder(), "none.yaml"), /does not exist/],
    ["a directory", () => folder(), /cannot be read \(EISDIR\)/],
    ["a long file", () => file("long.yaml", "#".repeat(3 * MAX_DOCUMENT + 1)), /is larger than/],
  ])("refuses %s", async (_, path, why) => {
    const { code, stderr } = await weft(["policy", "apply", path(), "--socket", nobody()]);
    expect(code).toBe(2);
    expect(stderr).toMatch(why);
  });
});

describe("weft policy get", () => {
  it("prints YAML that can be applied again, and its author", async () => {
    const socket = await serve();
    const { code, stdout } = await weft(["policy", "get", "--socket", socket]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^# version 3, applied on h2\n# in force on 2 of 2 known nodes\npolicies:\n {2}- name: web\n/,
    );
    const again = await weft(["policy", "apply", file("again.yaml", stdout), "--socket", socket]);
    expect(again.code).toBe(0);
  });

  it("prints the API's answer with -o json", async () => {
    const { stdout } = await weft(["policy", "get", "-o", "json", "--socket", await serve()]);
    expect(JSON.parse(stdout)).toMatchObject({ version: 3, text: POLICY });
  });

  it("says that there is none", async () => {
    const socket = await serve({ ...view(), policy: () => null });
    const { code, stderr } = await weft(["policy", "get", "--socket", socket]);
    expect(code).toBe(1);
    expect(stderr).toContain("the cluster has no policy: everything is open");
  });

  it("does not say so while the node does not know it, and passes no packet", async () => {
    const { policy, ...status } = view().status();
    const socket = await serve({
      ...view(),
      policy: () => null,
      status: () => ({ ...status, policy: { ...policy, version: null, hash: null } }),
    });
    for (const words of [["get"], ["test", file("none.yaml", "expect: []")]]) {
      const { code, stderr } = await weft(["policy", ...words, "--socket", socket]);
      expect(code).toBe(1);
      expect(stderr).toContain("this node does not know yet whether the cluster has a policy");
    }
  });
});

describe("weft policy test", () => {
  const expecting = (...lines: string[]) =>
    file("expected.yaml", `expect:\n${lines.map((line) => `  - { ${line} }\n`).join("")}`);
  const TO_THE_WEB = "src: 10.244.9.5, dst: 10.244.7.80, protocol: tcp";

  it("tries the policy in force, and prints a table", async () => {
    const path = expecting(`${TO_THE_WEB}, ports: [80], verdict: allow, by: web ingress 0`);
    const { code, stdout } = await weft(["policy", "test", path, "--socket", await serve()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^ +2 {2}ok +10\.244\.9\.5 +10\.244\.7\.80 +tcp +80 +allow by web ingress 0/m,
    );
  });

  it("exits 1 when one is not met", async () => {
    const path = expecting(`${TO_THE_WEB}, ports: [22], verdict: allow`);
    const { code, stdout } = await weft(["policy", "test", path, "--socket", await serve()]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/NOT MET.*deny by end of default ingress/);
  });

  it("needs no agent where both files say all", async () => {
    const path = file(
      "expected.yaml",
      `nodes: { h1: [10.244.7.0/24] }\nexpect:\n  - { ${TO_THE_WEB}, ports: [80], verdict: allow }\n`,
    );
    const policy = file("policy.yaml", YAML);
    const argv = ["policy", "test", path, "--policy", policy, "--socket", nobody()];
    expect((await weft(argv)).code).toBe(0);
  });

  it("says to which packets this node applies no rule, and what to do", async () => {
    const path = expecting(
      `${TO_THE_WEB}, ports: [80], verdict: allow`,
      "src: 10.244.7.81, dst: 10.244.7.80, protocol: tcp, ports: [80], verdict: allow",
      "src: 10.244.7.81, dst: 10.244.7.80, protocol: tcp, ports: [22], verdict: deny",
      "src: 10.244.7.1, dst: 10.244.7.80, protocol: tcp, ports: [22], verdict: deny",
    );
    const argv = ["policy", "test", path, "--socket", await serve()];
    const { code, stderr } = await weft(argv);
    expect(code).toBe(0);
    expect(stderr).toBe(
      `line 3 and 1 more: no rule applies on this node: 10.244.7.80/32, 10.244.7.81/32: the host routes packets between its workloads, and between them and the outside, and weft does not see them: start weft with --through-core --workload-interfaces 'veth*'
line 5: no rule applies on this node: this host and its workloads reach each other without weft: a node always reaches its workloads
`,
    );
    const { stdout } = await weft([...argv, "-o", "json"]);
    expect(JSON.parse(stdout).map((one: object) => "unseen" in one)).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });

  it("says nothing of this node where the file has nodes of its own", async () => {
    const path = file(
      "expected.yaml",
      `nodes: { h1: [10.244.7.0/24] }\nexpect:\n  - { src: 10.244.7.81, dst: 10.244.7.80, protocol: tcp, ports: [80], verdict: allow }\n`,
    );
    const { stderr } = await weft(["policy", "test", path, "--socket", await serve()]);
    expect(stderr).toBe("");
  });

  it("names the line of a mistake", async () => {
    const path = expecting(`${TO_THE_WEB}, ports: [80], verdict: perhaps`);
    const { code, stderr } = await weft(["policy", "test", path, "--socket", await serve()]);
    expect(code).toBe(2);
    expect(stderr).toContain(`${path}:2: expect[0].verdict: "perhaps" is not known here`);
  });
});

describe("weft explain", () => {
  it("tells stage by stage what becomes of it, and exits 1 where it does not go on", async () => {
    const argv = [
      "explain",
      "--src",
      "10.244.8.5",
      "--dst",
      "10.244.7.80",
      "--dport",
      "443",
      "--in",
    ];
    const { code, stdout } = await weft([...argv, "--socket", await serve()]);
    expect(asked.at(-1)).toEqual({
      src: "10.244.8.5",
      dst: "10.244.7.80",
      dport: 443,
      direction: "in",
    });
    expect(code).toBe(1);
    expect(stdout).toBe(`STAGE  SAW                                            VERDICT
parse  tcp 10.244.8.5:49152 > 10.244.7.80:443         goes on
acl    a rule matched                                 denied-ingress
         end of default ingress: deny (tier default)

verdict  dropped: denied-ingress
because  a policy denies it where it arrives
rule     end of default ingress: deny (tier default)
almost   web ingress 0: allow (tier default, line 4), but for its ports
counter  in.dropped.denied-ingress
`);
  });

  const TO_H2 = ["explain", "--src", "10.244.7.5", "--dst", "10.244.8.80", "--dport"];

  it("goes on where the packet does, and the last node's verdict counts", async () => {
    const { code, stdout } = await weft([...TO_H2, "443", "--socket", await serve()]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^verdict +sent\n(.*\n)*\non h2:\nSTAGE .*\n(.*\n)*verdict +dropped: denied-/m,
    );
  });

  it("names the node that could not be asked, and the command to run there", async () => {
    const { code, stdout } = await weft([...TO_H2, "22", "--socket", await serve()]);
    expect(code).toBe(0);
    expect(stdout).toContain(
      `\nh2 was not asked: it did not answer in time\n  there: weft ${TO_H2.join(" ")} 22 --in --peer h1\n`,
    );
  });

  it("says that it is probably lost where the path is silent, and exits 1", async () => {
    const { code, stdout } = await weft([...TO_H2, "23", "--socket", await serve()]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^verdict +sent, but probably lost\npath +direct to 192\.0\.2\.2:4789: no probe has been answered by h2 since 2030-01-01T00:00:00Z$/m,
    );
    expect(stdout).toMatch(/\n\non h2, if it arrives:\nverdict/);
  });

  it("says where it begins, and what the host does where weft does not carry it", async () => {
    const { code, stdout } = await weft([...TO_H2, "24", "--socket", await serve()]);
    expect(code).toBe(1);
    expect(stdout).toBe(`on h3, which has 10.244.9.5:
verdict  not carried by weft
because  the host routes it; no policy applies
remedy   start weft with --through-core
host     sends it by eth0 via 192.0.2.254, by the route default
`);
  });

  it("asks no other node with --here", async () => {
    const { stdout } = await weft([...TO_H2, "443", "--here", "--socket", await serve()]);
    expect(stdout).not.toContain("on h2:");
  });

  describe("--pcap", () => {
    const CAPTURE = fileURLToPath(
      new URL("../golden/state-handshake/device-in.pcap", import.meta.url),
    );
    const frames = readPcap(readFileSync(CAPTURE));
    const tried = (argv: string[]) => weft(["explain", "--pcap", CAPTURE, ...argv]);

    it("tries each packet of a file here, one line each", async () => {
      const before = asked.length;
      const { code, stdout, stderr } = await tried(["--in", "--socket", await serve()]);
      expect([code, stderr]).toEqual([1, ""]);
      expect(asked.slice(before)).toEqual(frames.map((packet) => ({ packet, direction: "in" })));
      const [head, ...lines] = stdout.trimEnd().split("\n");
      expect(head).toMatch(/^FRAME +WAY +PACKET +VERDICT +RULE$/);
      expect(lines).toHaveLength(frames.length);
      expect(lines[1]).toMatch(/^ +2 +in +.* +dropped: denied-ingress +end of default ingress$/);
    });

    it("tries the first of them, and prints JSON, one line each", async () => {
      const argv = ["--count", "2", "-o", "json", "--socket", await serve()];
      const { stdout, stderr } = await tried(argv);
      const lines = stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(lines).toEqual([1, 2].map((frame) => ({ frame, ...EXPLANATION })));
      expect(stderr).toBe("frames tried: 2; --count takes more or fewer\n");
    });

    it("explains one whole", async () => {
      const { code, stdout } = await tried([
        "--number",
        "2",
        "--peer",
        "h2",
        "--socket",
        await serve(),
      ]);
      expect(code).toBe(1);
      expect(asked.at(-1)).toEqual({ packet: frames[1], peer: "h2" });
      expect(stdout).toMatch(/^STAGE .*\n(.*\n)*counter +in\.dropped\.denied-ingress\n$/);
    });

    it.each([
      [["--pcap", CAPTURE, "--number", "99"], /device-in\.pcap has no frame 99/],
      [["--pcap", CAPTURE, "--count", "0"], /--count 0 is not/],
      [
        ["--pcap", CAPTURE, "--src", "10.244.1.1"],
        /'--pcap <FILE>' cannot be used with option '--src <ADDR>'/,
      ],
      [["--pcap", "/nowhere"], /\/nowhere does not exist/],
      [["--pcap", fileURLToPath(import.meta.url)], /it is no pcap and no pcapng file/],
    ])("refuses %j", async (argv, why) => {
      const { code, stderr } = await weft(["explain", ...argv, "--socket", await serve()]);
      expect(code).toBe(2);
      expect(stderr).toMatch(why);
    });
  });

  it("takes a whole packet, and prints JSON", async () => {
    const hex = "4500001c00010000401165cf0af401050af40250c00000350008f1a2";
    const argv = ["explain", "--packet", hex, "--peer", "h2", "-o", "json"];
    const { stdout } = await weft([...argv, "--socket", await serve()]);
    expect(asked.at(-1)).toEqual({ packet: new Uint8Array(Buffer.from(hex, "hex")), peer: "h2" });
    expect(JSON.parse(stdout)).toEqual(EXPLANATION);
  });

  it.each([
    [["--src", "10.244.1.1"], /a packet has two ends/],
    [["--packet", "xyz"], /--packet xyz is not hexadecimal/],
    [["--number", "2"], /--count and --number need a file/],
    [
      ["--src", "10.244.1.1", "--dst", "10.244.1.2", "--proto", "tpc"],
      /--proto tpc is no protocol\n.*icmp, tcp, udp, icmpv6, sctp/,
    ],
  ])("refuses %j", async (argv, why) => {
    const { code, stderr } = await weft(["explain", ...argv, "--socket", await serve()]);
    expect(code).toBe(2);
    expect(stderr).toMatch(why);
  });
});

describe("weft flows", () => {
  it("lists connections, and the rule that allowed each", async () => {
    const { stdout } = await weft(["flows", "--socket", await serve()]);
    expect(stdout).toMatch(
      /^tcp +10\.244\.8\.5 +40000 +10\.244\.7\.80 +80 +in +established +1 +6\/5 +500\/4000 +- +web ingress 0$/m,
    );
    expect(stdout).toMatch(/^udp +.* 10\.244\.7\.1:50000 > 10\.244\.8\.54:5353 +-$/m);
  });

  it.each([
    [["--src", "10.244.8.0/24"], [FLOWS[0]]],
    [["--dst", "10.244.8.53"], [FLOWS[1]]],
    [["--src", "10.244.8.5", "--dst", "10.244.8.53"], []],
    [["--src", "fd00::/8"], []],
  ])("%j are these only", async (argv, flows) => {
    const { stdout } = await weft(["flows", ...argv, "-o", "json", "--socket", await serve()]);
    expect(JSON.parse(stdout)).toEqual(flows);
  });
});

describe("weft counters --watch", () => {
  it("ends once its output is closed", async () => {
    const argv = [WEFT, "counters", "--watch", "--socket", await serve()];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "pipe"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    await once(child.stdout, "data");
    child.stdout.destroy();
    expect(await once(child, "close")).toEqual([0, null]);
    expect(stderr).toBe("");
  });

  it("prints them again and again", async () => {
    const argv = [WEFT, "counters", "--watch", "--socket", await serve()];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let text = "";
    for await (const chunk of child.stdout) {
      text += chunk;
      if (text.match(/^PACKETS/gm)!.length > 2) break;
    }
    expect(text.match(/^web ingress 0 +allow/gm)!.length).toBeGreaterThanOrEqual(2);
  });
});
