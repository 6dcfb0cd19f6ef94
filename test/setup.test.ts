import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const SETUP = fileURLToPath(new URL("../src/setup.mjs", import.meta.url));
/** All but the sources and what is built from them is as old as this. */
const LONG_AGO = new Date("2020-01-01");
const BUILD = `node -e "require('fs').writeFileSync('was-built', '')"`;

describe("setup", () => {
  let checkout: string;
  let env: NodeJS.ProcessEnv;

  const write = (path: string, text = "") => {
    mkdirSync(dirname(join(checkout, path)), { recursive: true });
    writeFileSync(join(checkout, path), text);
  };
  const setup = (purpose: string) => {
    const argv = [join(checkout, "src/setup.mjs"), purpose];
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8", env });
    return { status, stdout, stderr };
  };

  beforeEach(() => {
    checkout = mkdtempSync(join(tmpdir(), `weft-setup-${process.pid}-`));
    env = process.env;
    write("package.json", JSON.stringify({ engines: { node: ">=20" }, scripts: { build: BUILD } }));
    write("package-lock.json");
    mkdirSync(join(checkout, "src"));
    cpSync(SETUP, join(checkout, "src/setup.mjs"));
    for (const path of ["package.json", "package-lock.json", "src/setup.mjs", "src"]) {
      utimesSync(join(checkout, path), LONG_AGO, LONG_AGO);
    }
    for (const path of ["node_modules/.package-lock.json", "dist/cli/weft.js", "build/core.wasm"]) {
      write(path);
    }
  });
  afterEach(() => rmSync(checkout, { recursive: true }));

  /** A PATH on which there is Node and npm and little else. */
  const bare = () => {
    const bin = join(checkout, "bin");
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, "node"));
    env = { PATH: bin };
  };

  it("says nothing and does nothing when there is nothing to do", () => {
    write("src/old.ts");
    utimesSync(join(checkout, "src/old.ts"), LONG_AGO, LONG_AGO);
    utimesSync(join(checkout, "src"), LONG_AGO, LONG_AGO);
    const programs = ["ip", "ping", "iperf3", "setpriv"];
    bare();
    for (const program of programs) write(`bin/${program}`);
    expect(setup("demo")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  it("builds when a source is newer than what was built", () => {
    write("src/new.ts");
    for (const path of ["dist/cli/weft.js", "build/core.wasm"]) {
      utimesSync(join(checkout, path), new Date("2021-01-01"), new Date("2021-01-01"));
    }
    expect(setup("demo")).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("setup: sources are newer than the build"),
    });
    expect(() => rmSync(join(checkout, "was-built"))).not.toThrow();
  });

  it("names the missing Debian packages and goes on where it cannot install them", () => {
    bare();
    const { status, stderr } = setup("demo");
    expect(stderr).toMatch(/missing here: .*ping, iperf3.*iputils-ping, iperf3/);
    expect(stderr).toMatch(/not installed; going on without/);
    expect(status).toBe(0);
  });

  it("refuses a Node that is too old, saying which it needs", () => {
    write("package.json", JSON.stringify({ engines: { node: ">=99" } }));
    expect(setup("demo")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/this is Node .*, weft needs 99 or newer/),
    });
  });

  it("refuses a purpose it does not know", () => {
    expect(setup("lunch")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('"lunch" is not one of'),
    });
  });
});
