/** One table of exit codes for all verbs, as docs/command.md says: 0 yes, 1 no, 2 misuse, 3 no agent. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { file, folder, POLICY, serve, view, weft } from "./weft.js";

const SECRET = { WEFT_SECRET: "sixteen letters!" };
const ENDS = ["--src", "10.244.7.1", "--dst", "10.244.8.1"];
const policy = () => file("policy.json", POLICY);
const expected = (verdict: string) =>
  file(
    "expected.yaml",
    `expect: [{ src: 10.244.8.1, dst: 10.244.7.80, protocol: tcp, ports: [80], verdict: ${verdict} }]`,
  );

/** Verbs that ask an agent, each with arguments that are right. */
const ASKING: readonly (readonly [string, () => string[]])[] = [
  ["status", () => ["status"]],
  ["peers", () => ["peers"]],
  ["routes", () => ["routes"]],
  ["leases", () => ["leases"]],
  ["counters", () => ["counters"]],
  ["flows", () => ["flows"]],
  ["explain", () => ["explain", ...ENDS]],
  ["capture", () => ["capture"]],
  ["policy apply", () => ["policy", "apply", policy()]],
  ["policy get", () => ["policy", "get"]],
  ["policy test", () => ["policy", "test", expected("allow")]],
  ["forget", () => ["forget", "h2"]],
];
const ANSWERED_NO = ["explain", "capture", "forget"];

describe("exit code 0: done, or the answer is yes", () => {
  it.each([
    ...ASKING.filter(([name]) => !ANSWERED_NO.includes(name)),
    ["forget --force", () => ["forget", "h2", "--force"]] as const,
  ])("%s", async (_, argv) => {
    expect(await weft([...argv(), "--socket", await serve()])).toMatchObject({ code: 0 });
  });
});

describe("exit code 1: failed, or the answer is no", () => {
  it.each<readonly [string, () => string[]]>([
    ["a degraded node", () => ["status"]],
    ["a packet that does not go on", () => ["explain", ...ENDS]],
    ["an expectation that is not met", () => ["policy", "test", expected("deny")]],
    ["a node that may still live", () => ["forget", "h2"]],
    ["a capture beside another", () => ["capture"]],
  ])("%s", async (_, argv) => {
    expect(await weft([...argv(), "--socket", await serve(view(false))])).toMatchObject({
      code: 1,
    });
  });

  it("no policy to print", async () => {
    const socket = await serve({ ...view(), policy: () => null });
    expect(await weft(["policy", "get", "--socket", socket])).toMatchObject({ code: 1 });
  });
});

describe("exit code 2: the command line, the configuration or a document is wrong", () => {
  const wrong: readonly (readonly [string, () => string[]])[] = [
    ["no verb", () => []],
    ["an unknown verb", () => ["frobnicate"]],
    ["a protocol that is none", () => ["explain", ...ENDS, "--proto", "http"]],
    ["a protocol beyond 255", () => ["explain", ...ENDS, "--proto", "256"]],
    ["a port that is none", () => ["explain", ...ENDS, "--dport", "http"]],
    ["a port beyond 65535", () => ["explain", ...ENDS, "--sport", "65536"]],
    ["a source that is no address", () => ["explain", "--src", "web", "--dst", "10.244.8.1"]],
    ["a packet that is not hex", () => ["explain", "--packet", "45zz"]],
    ["a file that is no capture", () => ["explain", "--pcap", policy()]],
    ["a capture file that never ends", () => ["explain", "--pcap", "/dev/zero"]],
    ["flows of what is no prefix", () => ["flows", "--src", "web"]],
    ["a snaplen of nothing", () => ["capture", "--snaplen", "0"]],
    ["a policy file that is not there", () => ["policy", "apply", "/nonexistent"]],
    ["a policy that never ends", () => ["policy", "apply", "/dev/zero"]],
    ["a policy that is a directory", () => ["policy", "apply", "/"]],
    ["a policy with a mistake", () => ["policy", "apply", file("p.yaml", "policys: []")]],
    ["expectations that never end", () => ["policy", "test", "/dev/zero"]],
    ["forget without a name", () => ["forget"]],
  ];
  it.each(wrong)("%s", async (_, argv) => {
    const { code, stderr, stdout } = await weft(
      argv().length > 1 ? [...argv(), "--socket", await serve()] : argv(),
    );
    expect(stdout).toBe("");
    expect(stderr).not.toMatch(/^\s+at |a bug in weft/m);
    expect(code).toBe(2);
  });

  it("a configuration", async () => {
    expect(await weft(["up", "--vni", "none"], SECRET)).toMatchObject({ code: 2 });
  });
});

describe("exit code 3: no agent answers", () => {
  it.each(ASKING)("%s", async (_, argv) => {
    const socket = join(folder(), "weft.sock");
    expect(await weft([...argv(), "--socket", socket])).toMatchObject({ code: 3 });
  });
});
