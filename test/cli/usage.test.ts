import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { file, folder, weft } from "./weft.js";

const SECRET = { WEFT_SECRET: "sixteen letters!" };
const two = (what: string, remedy: string) => `weft: ${what}\n  ${remedy}\n`;

describe("a wrong command line is one sentence, one remedy and exit code 2", () => {
  it.each<[string[], string, string]>([
    [["statsu"], "unknown command 'statsu'", "did you mean status?"],
    [["--verison"], "unknown option '--verison'", "did you mean --version?"],
    [["up", "--nmae", "x"], "unknown option '--nmae'", "did you mean --name?"],
    [["up", "--secret", "x"], "unknown option '--secret'", "did you mean --secret-file?"],
    [["up", "--data-dir", "x"], "unknown option '--data-dir'", "did you mean --state?"],
    [["explain", "--protocol", "tcp"], "unknown option '--protocol'", "did you mean --proto?"],
    [["policy", "aply"], "unknown command 'aply'", "did you mean apply?"],
    [["policy", "frobnicate"], "unknown command 'frobnicate'", "see: weft policy --help"],
    [["policy", "apply"], "missing required argument 'FILE'", "see: weft policy apply --help"],
    [["forget"], "missing required argument 'NAME'", "see: weft forget --help"],
    [["--frobnicate"], "unknown option '--frobnicate'", "see: weft --help"],
    [
      ["up", "now"],
      "too many arguments for 'up'. Expected 0 arguments but got 1.",
      "see: weft up --help",
    ],
    [["up", "--mtu"], "option '--mtu <N>' argument missing", "see: weft up --help"],
    [
      ["status", "-o", "xml"],
      "option '-o, --output <format>' argument 'xml' is invalid. Allowed choices are table, json.",
      "see: weft status --help",
    ],
    [
      ["up", "--underlay", "010.0.0.1"],
      '--underlay: "010.0.0.1" is not an IP address',
      "write each octet without leading zeros",
    ],
    [
      ["up", "--name", "a\n$(reboot)"],
      '--name: "a?$(reboot)" is not a node name',
      "use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at each end",
    ],
    [
      ["up", "--config", "/nonexistent/weft.yaml"],
      "the configuration file /nonexistent/weft.yaml does not exist",
      "give the path of a readable YAML file with --config",
    ],
  ])("%j", async (args, what, remedy) => {
    const { code, stdout, stderr } = await weft(args, SECRET);
    expect(stderr).toBe(two(what, remedy));
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });

  it.each<[string[], string]>([
    [["up", "--network", "10.1.0.0/16", "--network", "fd00:1::/48"], "--network <CIDR[,CIDR]>"],
    [["up", "--network", "10.1.0.0/16", "--network=10.1.0.0/16"], "--network <CIDR[,CIDR]>"],
    [["up", "--mtu", "1400", "--mtu", "1500"], "--mtu <N>"],
    [["up", "--no-tso", "--no-tso"], "--no-tso"],
    [["up", "--config", "/a", "--config", "/b"], "--config <FILE>"],
    [["status", "-o", "json", "--output", "table"], "-o, --output <format>"],
    [["policy", "apply", "p.yaml", "--socket", "/a", "--socket", "/b"], "--socket <path>"],
    [["explain", "--src", "10.1.0.1", "--src", "10.1.0.2"], "--src <ADDR>"],
  ])("an option given twice: %j", async (args, option) => {
    const { code, stdout, stderr } = await weft(args, SECRET);
    expect(stderr).toBe(two(`option '${option}' is given more than once`, "keep one of them"));
    expect([code, stdout]).toEqual([2, ""]);
  });

  it("only what repeats may be given twice", async () => {
    const args = ["up", "--join", "a", "--join", "b", "--mtu", "1"];
    expect((await weft(args, SECRET)).stderr).toContain("--mtu: ");
  });

  it("a switch with a value", async () => {
    const { code, stderr } = await weft(["up", "--no-tso=false"], SECRET);
    expect(stderr).toContain("unknown option '--no-tso=false'");
    expect(code).toBe(2);
  });

  it("no secret", async () => {
    const { code, stderr } = await weft(["up"]);
    expect(stderr).toBe(
      two(
        "no cluster secret is given",
        "put one in a file and pass --secret-file FILE, or set WEFT_SECRET",
      ),
    );
    expect(code).toBe(2);
  });

  it("a setting in a file, by file and line", async () => {
    const path = file("weft.yaml", "name: h1\nnetwork: 10.244.0.1/16\n");
    const { code, stderr } = await weft(["up", "--config", path], SECRET);
    expect(stderr).toBe(
      two(
        `${path}:2: network: "10.244.0.1/16" has address bits set beyond its length`,
        "did you mean 10.244.0.0/16?",
      ),
    );
    expect(code).toBe(2);
  });

  it("never shows the secret", async () => {
    const path = file("secret", "short secret\n");
    const { stderr } = await weft(["up", "--secret-file", path]);
    expect(stderr).toContain("is a secret shorter than 16 characters");
    expect(stderr).not.toContain("short secret");
  });
});

describe("help", () => {
  it("is what `weft` alone shows, as misuse", async () => {
    const asked = await weft(["--help"]);
    const alone = await weft([]);
    expect(asked).toMatchObject({ code: 0, stderr: "" });
    expect(alone).toMatchObject({ code: 2, stdout: "", stderr: asked.stdout });
  });

  it("of a verb shows its defaults and an example", async () => {
    const { code, stdout } = await weft(["up", "--help"]);
    const words = stdout.replace(/\s+/g, " ");
    for (const text of [
      "(default: 10.244.0.0/16)",
      "(default: 4789)",
      "--no-gro do not receive several datagrams in one call",
      "weft up --secret-file",
    ]) {
      expect(words).toContain(text);
    }
    expect(code).toBe(0);
  });

  it("--version prints the version of the package", async () => {
    const { version } = JSON.parse(
      readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
    );
    expect(await weft(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("a start that is refused", () => {
  it("leaves no state directory and no socket directory", async () => {
    const root = folder();
    const state = join(root, "state/deep");
    const socket = join(root, "run/weft.sock");
    const { code, stderr } = await weft(
      ["up", "--no-tso", "--underlay", "192.0.2.77", "--state", state, "--socket", socket],
      SECRET,
    );
    expect(stderr.split("\n")).toHaveLength(3);
    expect(code).toBe(1);
    expect(existsSync(join(root, "state"))).toBe(false);
    expect(existsSync(join(root, "run"))).toBe(false);
  });
});
