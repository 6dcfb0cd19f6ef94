/** The pages tell the truth: the example runs as a user runs it, and what they name is there. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { settings } from "../src/config/settings.js";
import { explainReason, reasonNames } from "../src/core/reasons.js";
import { STAGES } from "../src/explain/trace.js";
import { PROTOCOLS } from "../src/mesh/protocols.js";
import { folder, weft } from "./cli/weft.js";
import { LAYERS } from "./imports/layers.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
].map((path) => ({ path, text: read(path) }));

/** Names of Linux, whose numbers the code has. */
const KERNEL_NAMES = new Set(["IP_PMTUDISC_PROBE"]);
const sources = ["assembly", "bench", "src", "test"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|mjs)$/.test(name))
    .map((name) => join(folder, name)),
);
const code = sources.map(read).join("\n");

/** Every match of the pattern's first group. */
const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? "");

/** The fenced blocks of these languages, in order. */
const fenced = (text: string, ...languages: string[]): string[] =>
  languages.flatMap((language) =>
    all(text, new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms")),
  );

describe("the embedding example of README.md", () => {
  const [code = ""] = fenced(read("README.md"), "ts");
  const [output = ""] = fenced(read("README.md"), "text");

  /** A project of somebody else's, with weft installed into it and the example saved as `name`. */
  function project(name: string): string {
    const path = folder();
    mkdirSync(join(path, "node_modules"));
    symlinkSync(root, join(path, "node_modules/weft"));
    writeFileSync(join(path, name), code);
    return path;
  }

  it("prints what the page says it prints", async () => {
    const cwd = project("overlay.mjs");
    const { stdout } = await run(process.execPath, ["overlay.mjs"], { cwd });
    expect(output).not.toBe("");
    expect(stdout).toBe(output);
  });

  it("satisfies the compiler of a TypeScript user", async () => {
    const cwd = project("overlay.mts");
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"];
    const types = ["--typeRoots", join(root, "node_modules/@types"), "--types", "node"];
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, ...flags, ...types, "overlay.mts"], {
      cwd,
    });
    expect(stdout).toBe("");
  });
});

it("README.md draws every stage of a packet's way", () => {
  const [way = ""] = all(read("README.md"), /^## The way of a packet\n(.*?)^A worker thread/gms);
  const drawn = way.match(/[a-z]+(?:-[a-z]+)*/g);
  expect(drawn).toEqual(expect.arrayContaining(STAGES.filter((stage) => stage !== "rule")));
});

/** What `weft help VERB` prints, by verb; with what its own verbs print, if it has some. */
const help = new Map<string, string>();

beforeAll(async () => {
  const { stdout: menu } = await weft(["--help"]);
  const verbsIn = (text: string) => all(text, /^ {2}([a-z]+)(?: \[options\]| {4})/gm);
  expect(verbsIn(menu)).toContain("up");
  for (const verb of verbsIn(menu)) {
    const { stdout } = await weft(["help", verb]);
    const under = verbsIn(stdout).map(async (part) => (await weft([verb, part, "--help"])).stdout);
    help.set(verb, [stdout, ...(await Promise.all(under))].join(""));
  }
});

describe.each(pages)("$path", ({ path, text }) => {
  it("names npm scripts that exist", () => {
    const { scripts } = JSON.parse(read("package.json"));
    for (const name of all(text, /npm run ([a-z][\w:-]*)/g)) expect(scripts).toHaveProperty([name]);
  });

  it("links to pages and headings that exist", () => {
    for (const link of all(text, /\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file = "", heading] = link.split("#");
      const target = file === "" ? path : relative(root, join(root, dirname(path), file));
      expect(existsSync(join(root, target)), link).toBe(true);
      if (heading !== undefined) expect(headings(read(target)), link).toContain(heading);
    }
  });

  it("names files that exist", () => {
    const ours = /`((?:\.ci|assembly|bench|docs|src|test)\/[\w./-]*)`/g;
    for (const file of all(text, ours)) expect(existsSync(join(root, file)), file).toBe(true);
  });

  it("names constants and metrics that the code has", () => {
    const names = [...all(text, /`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`/g), ...all(text, /(weft_[a-z_]+)/g)];
    for (const name of names) {
      expect(KERNEL_NAMES.has(name) || code.includes(name), name).toBe(true);
    }
  });

  it("gives weft verbs and flags that it knows", () => {
    for (const command of commands(text)) {
      const [verb = "", ...rest] = command.split(/\s+/).slice(1);
      if (verb.startsWith("-")) continue;
      expect([...help.keys()], command).toContain(verb);
      for (const flag of rest.filter((word) => word.startsWith("-"))) {
        expect(flagsOf(help.get(verb)!), command).toContain(flag);
      }
    }
    const known = [...help.values()].flatMap(flagsOf);
    for (const flag of all(text, /`(--[a-z-]+)[^`]*`/g)) expect(known).toContain(flag);
  });
});

it("npm run help has a word for every command", async () => {
  const { scripts } = JSON.parse(read("package.json"));
  const { stdout } = await run("npm", ["run", "--silent", "help"], { cwd: root });
  expect(all(stdout, /^ {2}npm run (\S+) +\w/gm)).toEqual(Object.keys(scripts));
  expect(stdout).not.toContain("undefined");
});

it("comments name files that exist", () => {
  const named = sources.flatMap((path) => {
    const comments = all(read(path), /^\s*((?:\/\*\*|\*|\/\/).*)$/gm).join("\n");
    const files = all(comments, /\b((?:assembly|bench|docs|src|test)\/[\w./-]+\.\w+)/g);
    return files.map((file) => ({ path, file }));
  });
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter(({ file }) => !existsSync(join(root, file)))).toEqual([]);
});

/** Pages with cluster documents, which tests of their own read: docs.test.ts of test/policy and test/nat. */
const DOCUMENT_PAGES: readonly string[] = ["docs/policy.md", "docs/nat.md"];

/** The first keys of documents on other pages: test/netns/readme-containers.test.ts applies them. */
const DOCUMENT_KEYS = ["services", "policies"];

it.each(pages.filter(({ path }) => !DOCUMENT_PAGES.includes(path)))(
  "$path shows settings that the configuration file knows",
  ({ text }) => {
    const keys = fenced(text, "yaml").map((block) => Object.keys(parse(block)));
    const ofSettings = keys.filter(([first]) => !DOCUMENT_KEYS.includes(first!));
    for (const names of ofSettings) {
      expect(Object.keys(settings.shape)).toEqual(expect.arrayContaining(names));
    }
  },
);

it("docs/command.md names every flag of every verb", () => {
  const page = read("docs/command.md");
  for (const [verb, text] of help) {
    for (const [, short, long] of text.matchAll(/^ {2}(?:(-\w), )?(--[a-z0-9-]+)/gm)) {
      if (long === "--help") continue;
      const isNamed = [short, long].some(
        (name) => name && new RegExp(`${name}(?![\\w-])`).test(page),
      );
      expect(isNamed, `weft ${verb} ${long}`).toBe(true);
    }
  }
});

describe("docs/architecture.md", () => {
  const page = read("docs/architecture.md");

  it("lists the folders of src/ in the order of their imports", () => {
    const named = all(page.slice(page.indexOf("## Folders")), /`src\/([\w.-]+)\/?`/g);
    expect(named.filter((layer, i) => named.indexOf(layer) === i)).toEqual(LAYERS);
  });

  it("walks through functions that their files define", () => {
    const steps = [...page.matchAll(/^\| \d+ \| `([^`]+)` \| ((?:`[^`]+`(?:, )?)+) \|/gm)];
    expect(steps.length).toBeGreaterThan(40);
    for (const [, file = "", functions = ""] of steps) {
      for (const name of all(functions, /`([^`]+)`/g)) {
        const definition = new RegExp(`(?:^ +(?:async )?|function )${name}\\(`, "m");
        expect(read(file), `${name} of ${file}`).toMatch(definition);
      }
    }
  });
});

it("docs/mesh.md lists every protocol with its messages", () => {
  const rows = all(read("docs/mesh.md"), /^(\| [`(].*)$/gm).map((row) => all(row, /`([\w-]+)`/g));
  const listed = rows.map((names) => names.toSorted().join());
  for (const { name, schemas } of PROTOCOLS) {
    const names = name === "session" ? [...schemas.keys()] : [name, ...schemas.keys()];
    expect(listed).toContain(names.toSorted().join());
  }
});

describe("docs/dataplane.md", () => {
  const refusals = reasonNames.filter((name) => name !== "delivered");

  it.each(refusals)("lists %s with its sentence", (name) => {
    expect(read("docs/dataplane.md")).toContain(`| \`${name}\` | ${explainReason(name)} |`);
  });
});

/** Command lines that begin with `weft`: in shell blocks, units, transcripts and code spans. */
function commands(text: string): string[] {
  const blocks = fenced(text, "sh", "ini").join("\n").replaceAll("\\\n", "");
  return [
    ...all(blocks, /^(?:ExecStart=)?(weft [^#\n]*)/gm),
    ...all(text, /^ {4}\$ (weft .*)$/gm),
    ...all(text, /`(weft [^`]*)`/g),
  ];
}

const flagsOf = (help: string): string[] => all(help, /(?<=\s)(--?[a-z][a-z-]*)/g);

/** Headings as links name them: lower case, hyphens for spaces, no punctuation. */
const headings = (text: string): string[] =>
  all(text, /^#+ (.*)$/gm).map((it) =>
    it
      .toLowerCase()
      .replace(/[^\w\s-]/g, "")
      .replace(/\s/g, "-"),
  );
