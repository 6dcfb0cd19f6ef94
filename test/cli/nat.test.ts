/** The verbs about address translation, against a control socket. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type KnownNode, progressOf } from "../../src/document-sync/progress.js";
import { file, folder, HASH, NAT_TEXT, NODE_H1, NODE_H2, serve, view, weft } from "./weft.js";

const YAML = `services:
  - name: web
    protocol: tcp
    address: 10.96.0.10
    port: 80
    backends: [10.244.7.80:8080]
`;
const APPLIED = `version 2 (${HASH}) is the newest translation document: services 1\n`;
const SLOW: KnownNode = { name: "h3", id: "03", state: "established", documents: [] };
const nobody = () => join(folder(), "weft.sock");
const slow = () => ({
  ...view(),
  natProgress: () => progressOf("nat", { version: 2, hash: HASH }, [NODE_H2, SLOW, NODE_H1]),
});

describe("weft nat apply", () => {
  const apply = async (text: string, ...more: string[]) =>
    weft(["nat", "apply", file("nat.yaml", text), ...more, "--socket", await serve()]);

  it("says what it came to", async () => {
    expect(await apply(YAML)).toEqual({
      code: 0,
      stdout: `${APPLIED}in force on 2 of 2 known nodes\n`,
      stderr: "",
    });
  });

  it("reads stdin", async () => {
    const argv = ["nat", "apply", "-", "--socket", await serve()];
    expect(await weft(argv, {}, YAML)).toMatchObject({ code: 0, stderr: "" });
  });

  it("with -o json prints the report alone", async () => {
    const { code, stdout, stderr } = await apply(YAML, "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ version: 2, hash: HASH, rules: { services: 1 } });
    expect([code, stderr]).toEqual([0, "in force on 2 of 2 known nodes\n"]);
  });

  it("with --dry-run changes nothing", async () => {
    expect(await apply(YAML, "--dry-run")).toEqual({
      code: 0,
      stdout: "it would be accepted: services 1; nothing has changed\n",
      stderr: "",
    });
  });

  it("names nodes that are not known, and what has no effect", async () => {
    const text = YAML.replace("10.96.0.10", "10.244.7.9");
    const { code, stderr } = await apply(
      `${text}ports:\n  - { protocol: tcp, address: "node:h9", port: 80, to: 10.244.7.5:80 }\n`,
    );
    expect([code, stderr]).toEqual([
      0,
      "no node has seen these nodes yet: h9\nservice web: 10.244.7.9 is in a lease of h1\n",
    ]);
  });

  it("with --wait exits 1 and names the missing when time is up", async () => {
    const argv = ["nat", "apply", file("nat.yaml", YAML), "--wait", "1", "--socket"];
    const { code, stderr } = await weft([...argv, await serve(slow())]);
    expect(code).toBe(1);
    expect(stderr).toContain("waiting for h3\nnot on h3: it has not said which one it has\n");
  });

  it("without --wait says where to look later", async () => {
    const argv = ["nat", "apply", file("nat.yaml", YAML), "--socket", await serve(slow())];
    expect((await weft(argv)).stderr).toContain("see weft nat get, or wait with --wait");
  });

  it("refuses a mistake by file and line, before an agent is asked", async () => {
    const path = file("nat.yaml", YAML.replace("port: 80", "prot: 80"));
    const { code, stderr } = await weft(["nat", "apply", path, "--socket", nobody()]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/nat\.yaml:5: services\[0\]\.prot: "prot" is not a known name\n/);
  });

  it("exits 3 without an agent", async () => {
    const argv = ["nat", "apply", file("nat.yaml", YAML), "--socket", nobody()];
    expect((await weft(argv)).code).toBe(3);
  });
});

describe("weft nat get", () => {
  it("prints YAML that can be applied again", async () => {
    const { code, stdout } = await weft(["nat", "get", "--socket", await serve()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^# version 2, applied on h2\n# in force on 2 of 2 known nodes\nservices:\n/,
    );
    const again = await weft(["nat", "test", file("again.yaml", stdout)]);
    expect(again).toEqual({ code: 0, stdout: "no mistake: services 1\n", stderr: "" });
  });

  it("with -o json prints the answer of the API", async () => {
    const { stdout } = await weft(["nat", "get", "-o", "json", "--socket", await serve()]);
    expect(JSON.parse(stdout)).toMatchObject({ version: 2, text: NAT_TEXT });
  });

  it("exits 1 where there is none", async () => {
    const none = { version: 0, hash: null, newest: 0, inForce: 2, known: 2 };
    const control = {
      ...view(),
      nat: () => null,
      status: () => ({ ...view().status(), nat: none }),
    };
    const { code, stderr } = await weft(["nat", "get", "--socket", await serve(control)]);
    expect([code, stderr]).toEqual([
      1,
      "weft: the cluster has no translation document: nothing is translated\n  apply one with: weft nat apply FILE\n",
    ]);
  });
});

describe("weft nat diff", () => {
  const diff = async (text: string, ...more: string[]) =>
    weft(["nat", "diff", file("nat.yaml", text), ...more, "--socket", await serve()]);

  it("is silent and exits 0 where nothing would change", async () => {
    expect(await diff(YAML)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("lists what would change, and exits 1", async () => {
    const text = YAML.replace("10.244.7.80:8080", "10.244.7.81:8080").replace(
      "port: 80",
      "port: 81",
    );
    expect(await diff(text)).toEqual({
      code: 1,
      stdout: `~ service web: 10.96.0.10:80/tcp, affinity none, no check -> 10.96.0.10:81/tcp, affinity none, no check
+ service web backend 10.244.7.81:8080: weight 1
- service web backend 10.244.7.80:8080: weight 1
`,
      stderr: "",
    });
    expect(JSON.parse((await diff(text, "-o", "json")).stdout)).toHaveLength(3);
  });
});

describe("weft nat test", () => {
  const NAMES = "nodes: { h1: [10.244.7.0/24] }\nexpect:\n";
  const line = (to: string) =>
    `  - { src: 10.244.7.5, dst: 10.96.0.10, protocol: tcp, port: 80, to: ${to} }\n`;

  it("needs no agent", async () => {
    expect(await weft(["nat", "test", file("nat.yaml", YAML)])).toEqual({
      code: 0,
      stdout: "no mistake: services 1\n",
      stderr: "",
    });
  });

  it("says which expectations are met", async () => {
    const expected = file("e.yaml", NAMES + line("10.244.7.80:8080") + line("10.244.7.80:80"));
    const argv = ["nat", "test", file("nat.yaml", YAML), "--expect", expected];
    const { code, stdout } = await weft(argv);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^ +3 +ok .* 10\.244\.7\.80:8080 from 10\.244\.7\.5 by service web$/m);
    expect(stdout).toMatch(/^ +4 +NOT MET /m);
  });

  it("exits 2 for a mistake in either file", async () => {
    const good = file("nat.yaml", YAML);
    expect((await weft(["nat", "test", file("bad.yaml", "services: 1")])).code).toBe(2);
    const argv = ["nat", "test", good, "--expect", file("e.yaml", "expect: []")];
    expect((await weft(argv)).code).toBe(2);
    expect((await weft(["nat", "test", "-", "--expect", "-"])).code).toBe(2);
  });
});

describe("weft services", () => {
  it("has a line for each backend, and for a service without one", async () => {
    const { code, stdout } = await weft(["services", "--socket", await serve()]);
    expect(code).toBe(0);
    expect(
      stdout,
    ).toBe(`NAME  PROTO  ADDRESS     PORT  BACKEND           NODE  WEIGHT  STATE       FLOWS  BYTES  SINCE                 WHY
web   tcp    10.96.0.10    80  10.244.7.80:8080  h1         1  active          3   4096  -                     -
web   tcp    10.96.0.10    80  192.0.2.80:8080   -          2  down            0      0  2026-11-30T08:00:00Z  connection refused
none  udp    10.96.0.11    53  -                 -          -  no backend      -      -  -                     -
-     tcp    10.244.7.1  8080  10.244.8.5:80     h2         1  dead            0      0  -                     -
`);
  });

  it("with -o json prints the answer of the API", async () => {
    const { stdout } = await weft(["services", "-o", "json", "--socket", await serve()]);
    expect(JSON.parse(stdout)).toMatchObject([{ name: "web" }, { name: "none" }, { kind: "port" }]);
  });
});
