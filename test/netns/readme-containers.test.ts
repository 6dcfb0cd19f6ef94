import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { addressOf, agentsOn, type Node } from "./cluster.js";
import { story } from "./story.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SECTION = /^## Containers, a service and a policy\n(.*?)^## /ms;
const NAMES = ["web1", "web2", "client"];

/** The blocks of README's section, in order; its host is the one that runs them. */
function blocksFor(host: Node, other: Node): { sh: string[]; yaml: string[] } {
  const [, section = ""] = SECTION.exec(readFileSync(join(ROOT, "README.md"), "utf8"))!;
  const lease = addressOf(host, 4).replace(/\.\d+$/, ".");
  const text = section.replaceAll("10.244.128.", lease).replaceAll("192.0.2.1", other.host.address);
  const blocks = (kind: string) =>
    [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\``, "gms"))].map(([, it]) => it!);
  return { sh: blocks("sh"), yaml: blocks("yaml") };
}

story("README.md's containers, service and policy", () => {
  let lab: Lab;
  let first: Node;
  let second: Node;

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b")];
    await hosts[1]!.sysctl("net/ipv4/ip_forward", 1);
    const flags = ["--through-core", "--workload-interfaces", "veth-*"];
    [first, second] = (await agentsOn(lab, hosts, ({ name }) => ({
      flags: name === "b" ? flags : [],
    }))) as [Node, Node];
    await second.host.ip(`route add default via ${first.host.address} dev eth0`);
  });

  afterAll(() => lab?.close());

  it("do as the page says, line by line", async () => {
    const { sh, yaml } = blocksFor(second, first);
    expect([sh.length, yaml.length]).toEqual([2, 2]);
    const folder = join(lab.folder, "containers");
    mkdirSync(folder);
    writeFileSync(join(folder, "nat.yaml"), yaml[0]!);
    writeFileSync(join(folder, "policy.yaml"), yaml[1]!);
    const weft = join(folder, "weft");
    const command = `exec node ${join(ROOT, "dist/cli/weft.js")} "$@" --socket ${second.agent.socket}`;
    writeFileSync(weft, `#!/bin/sh\n${command}\n`);
    chmodSync(weft, 0o755);
    const script = [
      `cd ${folder}`,
      `PATH=${folder}:$PATH`,
      `trap 'kill $(jobs -p); for one in ${NAMES.join(" ")}; do ip netns del $one; done' EXIT`,
      sh[0],
      "sleep 1",
      ...sh[1]!
        .split("\n")
        .flatMap((line) => [`echo "== ${line.replaceAll('"', "")}"`, line, 'echo "exit $?"']),
    ].join("\n");
    const { stdout, stderr } = await second.host.run(["bash", "-c", script], { limitMs: 90_000 });
    const said = (line: string) => {
      const [, answer = ""] = stdout.split(new RegExp(`^== .*${line}.*$`, "m"));
      return answer.split("\n== ")[0]!;
    };
    expect(said("nat apply"), stdout + stderr).toMatch(/exit 0/);
    expect(said("policy apply")).toMatch(/exit 0/);
    expect(said("10.96.0.10"), stdout + stderr).toMatch(/^\s*web[12]\n/);
    expect(said("ping"), stdout + stderr).toContain("1 received");
    expect(said("curl -s -m 2")).not.toContain("web2");
    expect(said("explain")).toContain("denied-egress");
    expect(said("weft services")).toMatch(/web .*10\.96\.0\.10/s);
  });
});
