/**
 * Makes this checkout ready for a purpose: npm packages, Debian packages, build.
 *
 *     node src/setup.mjs [demo | test | bench | profile]
 *
 * It runs before anything is installed, so it is plain JavaScript and needs
 * nothing but Node. When there is nothing to do it says nothing, touches no
 * network and takes a blink.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Which Debian package brings a program. */
const PACKAGES = {
  ip: "iproute2",
  bridge: "iproute2",
  ping: "iputils-ping",
  iperf3: "iperf3",
  ethtool: "ethtool",
  tshark: "tshark",
  traceroute: "traceroute",
  nft: "nftables",
  setpriv: "util-linux",
  setcap: "libcap2-bin",
  script: "bsdutils",
  faketime: "faketime",
  unshare: "util-linux",
  nsenter: "util-linux",
  mount: "mount",
  perf: "linux-perf",
};

/** What each purpose runs. */
const PROGRAMS = {
  demo: ["ip", "ping", "iperf3", "setpriv"],
  bench: ["ip", "bridge", "ping", "iperf3", "setpriv", "ethtool"],
  profile: ["ip", "bridge", "ping", "iperf3", "setpriv", "ethtool", "perf"],
  test: Object.keys(PACKAGES).filter((program) => program !== "perf"),
};

/** What is built, and the youngest of what it is built from. */
const BUILT = ["dist/cli/weft.js", "build/core.wasm"];
const SOURCES = ["assembly", "src", "package.json", "tsconfig.json", "asconfig.json"];

const root = fileURLToPath(new URL("..", import.meta.url));
const purpose = process.argv[2] ?? "test";
process.chdir(root);
// `su` without a dash leaves out where the administrator's programs are; dpkg needs them too.
process.env.PATH = [process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter);

checkNode();
installNpmPackages();
installDebianPackages(
  PROGRAMS[purpose] ?? stop(`"${purpose}" is not one of: ${Object.keys(PROGRAMS)}`),
);
build();

function checkNode() {
  const [wanted] = JSON.parse(readFileSync("package.json", "utf8")).engines.node.match(/\d+/);
  if (Number(process.versions.node.split(".")[0]) >= Number(wanted)) return;
  stop(`this is Node ${process.versions.node}, weft needs ${wanted} or newer: install it first`);
}

/** npm leaves its own lock file in node_modules: older than ours means installed from an older one. */
function installNpmPackages() {
  const installed = age("node_modules/.package-lock.json");
  if (installed >= age("package-lock.json")) return;
  say(installed === 0 ? "npm packages are not installed yet" : "package-lock.json has changed");
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}

function installDebianPackages(programs) {
  const missing = programs.filter((program) => !onPath(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => PACKAGES[program]))];
  say(`missing here: ${missing.join(", ")} (Debian: ${packages.join(", ")})`);
  if (process.getuid?.() !== 0) return say("not root, so not installed; going on without");
  if (!onPath("apt-get")) return say("no apt-get here, so not installed; going on without");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["update", "-q"], env);
  run("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...packages], env);
}

function build() {
  const oldest = Math.min(...BUILT.map(age));
  if (oldest > Math.max(...SOURCES.map(youngest))) return;
  say(oldest === 0 ? "not built yet" : "sources are newer than the build");
  run("npm", ["run", "--silent", "build"]);
}

/** Like `which`. */
function onPath(program) {
  return process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** When a file was last written, in ms; 0 when there is none. */
function age(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** When anything in a tree last changed. A folder counts too: it changes when a file is removed. */
function youngest(path) {
  const inside = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(path) : [];
  return Math.max(age(path), ...inside.map((name) => youngest(join(path, name))));
}

function run(command, args, env = process.env) {
  say(`${command} ${args.join(" ")}`);
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", 2, 2], env });
  if (error) stop(`${command} does not start: ${error.message}`);
  if (status !== 0)
    stop(`\`${command} ${args.join(" ")}\` ended with ${status}; what it said is above`);
}

/** All of it goes to stderr: stdout belongs to what runs next. */
function say(line) {
  console.error(`setup: ${line}`);
}

function stop(line) {
  say(line);
  process.exit(1);
}
