/** The agent runs as root, and another user of the host can write near its files. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { StateLock } from "../../src/host/lock.js";
import { whyNotOwn } from "../../src/host/own.js";
import { ControlServer } from "../../src/http/server.js";
import { FileStore, STATE_FILE } from "../../src/state/store-file.js";
import { serve, view, weft } from "../cli/weft.js";
import { founder } from "../mesh/cluster.js";

const isRoot = process.geteuid?.() === 0;
const SOMEBODY = 12_345;

function folder(mode = 0o700): string {
  const path = mkdtempSync(join(tmpdir(), `weft-own-${process.pid}-`));
  chmodSync(path, mode);
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file that must stay as it is. */
function precious(): string {
  const path = join(folder(), "precious");
  writeFileSync(path, "precious");
  return path;
}

const cannotTake = (directory: string): string => {
  const lock = new StateLock(directory);
  try {
    lock.take("h1");
  } catch (error) {
    return (error as Error).message;
  }
  lock.release();
  return "it was taken";
};

describe("the lock of the state directory", () => {
  it("is taken, and leaves the directory as it was", () => {
    const directory = join(folder(), "a/state");
    const lock = new StateLock(directory);
    lock.take("h1");
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, "lock")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(directory, "lock"), "utf8")).toBe(`${process.pid} h1\n`);
    lock.release();
    expect(existsSync(directory)).toBe(false);
  });

  it("replaces what a killed agent left", () => {
    const directory = folder();
    writeFileSync(join(directory, "lock"), "1234567\n", { mode: 0o600 });
    expect(cannotTake(directory)).toBe("it was taken");
  });

  it("is not taken through a symbolic link, and what that points to stays as it is", () => {
    const [directory, victim] = [folder(), precious()];
    symlinkSync(victim, join(directory, "lock"));
    expect(cannotTake(directory)).toMatch(/cannot be used: ELOOP/);
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(lstatSync(join(directory, "lock")).isSymbolicLink()).toBe(true);
  });

  it("is not taken through a link to what does not exist, nor is that made", () => {
    const [directory, victim] = [folder(), join(folder(), "made")];
    symlinkSync(victim, join(directory, "lock"));
    expect(cannotTake(directory)).toMatch(/ELOOP/);
    expect(existsSync(victim)).toBe(false);
  });

  it("is not taken through a hard link", () => {
    const [directory, victim] = [folder(), precious()];
    linkSync(victim, join(directory, "lock"));
    expect(cannotTake(directory)).toMatch(/lock is one of several names of a file/);
    expect(readFileSync(victim, "utf8")).toBe("precious");
  });

  it("is not a FIFO's, and does not wait for one", () => {
    const directory = folder();
    execFileSync("mkfifo", [join(directory, "lock")]);
    expect(cannotTake(directory)).toMatch(/cannot be used/);
  });

  it.runIf(isRoot)("is not another user's file", () => {
    const directory = folder();
    writeFileSync(join(directory, "lock"), "");
    chownSync(join(directory, "lock"), SOMEBODY, SOMEBODY);
    expect(cannotTake(directory)).toMatch(/lock belongs to user 12345/);
  });

  it.each([0o770, 0o777, 0o1777])("is not in a directory of mode %o", (mode) => {
    expect(cannotTake(folder(mode))).toMatch(/can be written by others than its owner/);
  });

  it.runIf(isRoot)("is not in another user's directory, nor below one", () => {
    const directory = folder();
    mkdirSync(join(directory, "state"), { mode: 0o700 });
    chownSync(directory, SOMEBODY, SOMEBODY);
    for (const path of [directory, join(directory, "state"), join(directory, "new")]) {
      expect(cannotTake(path)).toMatch(`${directory} belongs to user 12345`);
    }
    expect(existsSync(join(directory, "new"))).toBe(false);
  });

  it("is not below a directory in which others may rename", () => {
    const directory = folder(0o777);
    expect(cannotTake(join(directory, "state"))).toMatch(/can be written by others/);
  });

  it.each([
    ["/proc/weft/state", /cannot be used: ENOENT/],
    ["/etc/passwd", /cannot be used: \/etc\/passwd is not a directory/],
    ["/etc/passwd/state", /cannot be used: ENOTDIR/],
  ])("is refused where there can be no directory: %s", (path, why) => {
    expect(cannotTake(path)).toMatch(why);
  });

  it("may be reached by a link of the operator's", () => {
    const [real, link] = [folder(), join(folder(), "state")];
    symlinkSync(real, link);
    expect(cannotTake(link)).toBe("it was taken");
  });
});

describe("the way to a directory", () => {
  it.runIf(isRoot)("leads through no link of another user's, wherever that points", () => {
    const [real, shared] = [folder(), folder(0o1777)];
    for (const target of [real, "..", `../${basename(real)}`]) {
      const link = join(shared, "state");
      symlinkSync(target, link);
      lchownSync(link, SOMEBODY, SOMEBODY);
      expect(whyNotOwn(link, { mayShare: true })).toMatch(`${link} belongs to user 12345`);
      expect(cannotTake(link)).not.toBe("it was taken");
      rmSync(link);
    }
  });

  it("leads through no directory in which others may put another link", () => {
    const [real, shared] = [folder(), folder(0o777)];
    for (const [link, target] of [
      [join(shared, "state"), real],
      [join(folder(), "state"), join(shared, "state")],
      [join(folder(), "state"), `${shared}/../${basename(real)}`],
    ] as const) {
      symlinkSync(target, link);
      expect(whyNotOwn(link, { mayShare: true })).toMatch(`${shared} can be written by others`);
    }
  });

  it("may lead through the operator's own links, up and down", () => {
    const real = folder();
    mkdirSync(join(real, "state"));
    const [first, second] = [join(folder(), "first"), join(folder(), "second")];
    symlinkSync(`${real}/./state/..`, first);
    symlinkSync(join(first, "state"), second);
    expect(whyNotOwn(second, { mayShare: false })).toBeUndefined();
  });
});

it("the lock of an agent that was started after the directory was removed is left to it", () => {
  const directory = join(folder(), "state");
  const [first, second] = [new StateLock(directory), new StateLock(directory)];
  first.take("h1");
  rmSync(directory, { recursive: true });
  second.take("h1");
  first.release();
  expect(cannotTake(directory)).toMatch(/another agent .* uses the state directory/);
  rmSync(directory, { recursive: true });
  second.release();
  expect(cannotTake(directory)).toBe("it was taken");
});

it("a lock that was removed is taken again, unless another agent has it", () => {
  const directory = join(folder(), "state");
  const [first, second] = [new StateLock(directory), new StateLock(directory)];
  first.take("h1");
  expect(first.keep("h1")).toBe(false);
  for (const path of [join(directory, "lock"), directory]) {
    rmSync(path, { recursive: true });
    expect(first.keep("h1")).toBe(true);
    expect(() => second.take("h2")).toThrow(/another agent/);
  }
  rmSync(directory, { recursive: true });
  second.take("h2");
  expect(() => first.keep("h1")).toThrow(/another agent \(pid .*, h2\) uses the state directory/);
  second.release();
  expect(first.keep("h1")).toBe(true);
  first.release();
  expect(existsSync(directory)).toBe(false);
});

it("a lock whose directory became a file is a problem with a remedy, and is taken again after it", () => {
  const directory = join(folder(), "state");
  const lock = new StateLock(directory);
  lock.take("h1");
  rmSync(directory, { recursive: true });
  writeFileSync(directory, "");
  expect(() => lock.keep("h1")).toThrow(
    expect.objectContaining({ code: "STATE", message: expect.stringContaining("not a directory") }),
  );
  rmSync(directory);
  expect(lock.keep("h1")).toBe(true);
  rmSync(directory, { recursive: true });
  writeFileSync(directory, "");
  lock.release();
  expect(readFileSync(directory, "utf8")).toBe("");
});

it("a directory under /tmp is one's own: only its owner renames it there", () => {
  expect(whyNotOwn(folder(), { mayShare: false })).toBeUndefined();
  expect(whyNotOwn(folder(0o1777), { mayShare: true })).toBeUndefined();
});

describe("the state file", () => {
  const state = { seed: founder.seed, remembered: [] };

  it("is written beside and renamed: a link in its place, or in that of the new one, is replaced", () => {
    const [directory, victim] = [folder(), precious()];
    for (const name of [STATE_FILE, `${STATE_FILE}.new`])
      symlinkSync(victim, join(directory, name));
    new FileStore(directory).save(state);
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(lstatSync(join(directory, STATE_FILE)).isFile()).toBe(true);
    expect(new FileStore(directory).load()).toEqual(state);
  });

  it("is not read from a FIFO, nor waited for", () => {
    const directory = folder();
    execFileSync("mkfifo", [join(directory, STATE_FILE)]);
    expect(() => new FileStore(directory).load()).toThrow(/is not a regular file/);
  });

  it.runIf(isRoot)("is not another user's", () => {
    const directory = folder();
    new FileStore(directory).save(state);
    chownSync(join(directory, STATE_FILE), SOMEBODY, SOMEBODY);
    expect(() => new FileStore(directory).load()).toThrow(/belongs to user 12345/);
  });
});

it.runIf(isRoot)("a full disk is named as such, and nothing half written stays on it", () => {
  const directory = folder();
  const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
  const steps = `
    const { PrivateFile } = await import("${dist}files/private-file.js");
    const { StateLock } = await import("${dist}host/lock.js");
    const { readdirSync, writeFileSync } = await import("node:fs");
    const tell = (step) => {
      try { step(); } catch ({ message, remedy }) { console.log(message + ": " + remedy); }
    };
    tell(() => new PrivateFile("${directory}/file", "file").write("x".repeat(1e6)));
    console.log(readdirSync("${directory}").length);
    try { writeFileSync("${directory}/junk", Buffer.alloc(1e6)); } catch {}
    tell(() => new StateLock("${directory}").take("h1"));`;
  const mount = `mount -t tmpfs -o size=8k,mode=700 none ${directory} && exec "$@"`;
  const node = [process.execPath, "--input-type=module", "-e", steps];
  const said = execFileSync("unshare", ["-m", "sh", "-c", mount, "sh", ...node], {
    encoding: "utf8",
  });
  expect(said.trim().split("\n")).toEqual([
    expect.stringMatching(/file cannot be written \(ENOSPC\): make room on the disk/),
    "0",
    expect.stringMatching(/cannot be used: ENOSPC.*: make room on the disk/),
  ]);
});

describe("the control socket", () => {
  const start = async (socket: string): Promise<string> => {
    const server = new ControlServer(view(), { socket });
    try {
      await server.start();
      return "it started";
    } catch (error) {
      return (error as Error).message;
    } finally {
      await server.stop();
    }
  };

  it("is not made where others could put one of theirs in its place", async () => {
    expect(await start(join(folder(0o777), "weft.sock"))).toMatch(/can be written by others/);
    expect(await start(join(folder(0o1777), "weft.sock"))).toBe("it started");
    const directory = join(folder(), "run");
    expect(await start(join(directory, "weft.sock"))).toBe("it started");
  });

  it.each([
    ["/etc/passwd/weft.sock", /cannot be \/etc\/passwd\/weft\.sock \(ENOTDIR\)/],
    ["/proc/weft/weft.sock", /the directory \/proc\/weft cannot be opened: ENOENT/],
  ])("is refused where it cannot be: %s", async (path, why) => {
    expect(await start(path)).toMatch(why);
  });

  it("does not take the place of a link, whatever that points to", async () => {
    for (const victim of [precious(), await serve(), "/nonexistent"]) {
      const socket = join(folder(), "weft.sock");
      symlinkSync(victim, socket);
      expect(await start(socket)).toMatch(/exists and is not a socket/);
      expect(lstatSync(socket).isSymbolicLink()).toBe(true);
    }
  });

  it("is made again once its directory is one, and is a problem until then", async () => {
    const directory = join(folder(), "run");
    const server = new ControlServer(view(), { socket: join(directory, "weft.sock") });
    onTestFinished(() => server.stop());
    await server.start();
    rmSync(directory, { recursive: true });
    writeFileSync(directory, "");
    await expect(server.keep()).rejects.toMatchObject({
      code: "SOCKET",
      message: expect.stringContaining("(ENOTDIR)"),
    });
    rmSync(directory);
    await server.keep();
    expect(lstatSync(join(directory, "weft.sock")).isSocket()).toBe(true);
  });

  it("does not take the place of one whose agent is too busy to accept", async () => {
    const socket = join(folder(), "weft.sock");
    const path = JSON.stringify(socket);
    const busy = `require("net").createServer().listen({ path: ${path}, backlog: 1 }, () => {
      require("fs").writeSync(1, "bound");
      for (;;);
    })`;
    const agent = spawn(process.execPath, ["-e", busy]);
    onTestFinished(() => void agent.kill("SIGKILL"));
    await once(agent.stdout, "data");
    const waiting = Array.from({ length: 5 }, () => connect(socket).on("error", () => {}));
    expect(await start(socket)).toMatch(/another agent listens on the control socket/);
    expect(lstatSync(socket).isSocket()).toBe(true);
    for (const one of waiting) one.destroy();
  });

  it.runIf(isRoot)("does not take the place of another user's", async () => {
    const socket = join(folder(), "weft.sock");
    const script = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, "SIGKILL"))`;
    const left = spawn(process.execPath, ["-e", script]);
    await new Promise((resolve) => left.once("close", resolve));
    chownSync(socket, SOMEBODY, SOMEBODY);
    expect(await start(socket)).toMatch(/belongs to user 12345/);
    expect(lstatSync(socket).isSocket()).toBe(true);
  });

  it("has its modes whatever the umask is", async () => {
    const before = process.umask(0);
    onTestFinished(() => void process.umask(before));
    const socket = await serve();
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect(statSync(join(socket, "..")).mode & 0o777).toBe(0o755);
    const state = join(folder(), "state");
    const lock = new StateLock(state);
    lock.take("h1");
    new FileStore(state).save({ seed: founder.seed, remembered: [] });
    expect(statSync(state).mode & 0o777).toBe(0o700);
    expect(statSync(join(state, "lock")).mode & 0o777).toBe(0o600);
    expect(statSync(join(state, STATE_FILE)).mode & 0o777).toBe(0o600);
    lock.release();
  });
});

describe("weft capture -w", () => {
  const nothing = { take: () => [], lost: 0, stop: () => {} };
  const capture = async (path: string) => {
    const socket = await serve({ ...view(), capture: () => nothing });
    return weft(["capture", "-w", path, "--duration", "1", "--socket", socket]);
  };

  it("writes to no link", async () => {
    const victim = precious();
    const [symbolic, hard] = [join(folder(), "a"), join(folder(), "b")];
    symlinkSync(victim, symbolic);
    linkSync(victim, hard);
    expect((await capture(symbolic)).stderr).toMatch(/cannot be written: ELOOP/);
    expect((await capture(hard)).stderr).toMatch(/is one of several names of a file/);
    expect(readFileSync(victim, "utf8")).toBe("precious");
  });

  it.runIf(isRoot)("writes to no file of another user", async () => {
    const path = precious();
    chownSync(path, SOMEBODY, SOMEBODY);
    expect((await capture(path)).stderr).toMatch(/belongs to user 12345/);
    expect(readFileSync(path, "utf8")).toBe("precious");
  });
});
