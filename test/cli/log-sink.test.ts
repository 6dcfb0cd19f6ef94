/** The log's sink on real descriptors: pipes, a full device, a file. */
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type AgentLog, makeLog } from "../../src/logging/log.js";
import { folder } from "./weft.js";

const LINES = 2_000;

function open(path: string, flags: number): number {
  const fd = openSync(path, flags);
  onTestFinished(() => {
    try {
      closeSync(fd);
    } catch {
      // The test has closed it.
    }
  });
  return fd;
}

/** A FIFO with its reading end open. */
function pipe(): { path: string; reader: number; writer: number } {
  const path = join(folder(), "fifo");
  execFileSync("mkfifo", [path]);
  const reader = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path, reader, writer: open(path, constants.O_WRONLY) };
}

/** All that is in it now. */
function drain(reader: number): string {
  const chunk = Buffer.alloc(64 * 1024);
  let text = "";
  try {
    for (let n = readSync(reader, chunk); n > 0; n = readSync(reader, chunk)) {
      text += chunk.toString("utf8", 0, n);
    }
  } catch (error) {
    expect(error).toHaveProperty("code", "EAGAIN");
  }
  return text;
}

const fill = ({ log }: AgentLog, from = 0) => {
  for (let i = from; i < from + LINES; i++) log.info(`line ${i} ${"x".repeat(100)}`);
};

const linesOf = (text: string): string[] => text.split("\n").slice(0, -1);

describe("a log", () => {
  it("with a full pipe keeps a bounded part, and later reports its losses", async () => {
    const { reader, writer } = pipe();
    const log = makeLog("text", writer);
    fill(log);
    const { lost, waiting, why, since } = log.state();
    expect(why).toBe("it is not read");
    expect(since).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect(waiting).toBeLessThan(64 * 1024 * 0.01);
    expect(lost).toBeGreaterThan(0);

    let text = "";
    const read = () => {
      text += drain(reader);
      return text;
    };
    await expect.poll(read, { timeout: 20_000 }).toContain("lines of the log are lost");
    expect(log.state()).toEqual({ lost, waiting: 0 });
    const lines = linesOf(text);
    const kept = lines.filter((line) => / line \d+ x{100}$/.test(line));
    expect(kept).toHaveLength(LINES - lost);
    expect(lines.at(-1)).toMatch(
      new RegExp(`warning: ${lost} lines of the log are lost: since ${since} it could not be`),
    );
    // Line for line in their order: no line is torn, none comes twice.
    kept.forEach((line, i) => {
      expect(line).toContain(` line ${i} x`);
    });
    log.log.info("and on");
    expect(drain(reader)).toMatch(/and on\n$/);
  });

  it("with a closed pipe resumes with a new reader", async () => {
    const { path, reader, writer } = pipe();
    const log = makeLog("json", writer);
    closeSync(reader);
    fill(log);
    expect(log.state()).toMatchObject({ why: "broken pipe" });
    const again = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    let text = "";
    const read = () => {
      text += drain(again);
      return text;
    };
    await expect.poll(read, { timeout: 20_000 }).toContain("lines of the log are lost");
    const last = JSON.parse(linesOf(text).at(-1)!);
    expect(last).toMatchObject({ level: "warn", msg: expect.stringMatching(/\(broken pipe\)$/) });
  });

  it("on a full device goes on", () => {
    const log = makeLog("text", open("/dev/full", constants.O_WRONLY));
    fill(log);
    expect(log.state()).toMatchObject({ why: "no space left on device" });
    expect(log.state().lost).toBeGreaterThan(LINES / 2);
  });

  it("on a closed descriptor goes on", () => {
    const fd = openSync("/dev/null", constants.O_WRONLY);
    const log = makeLog("text", fd);
    closeSync(fd);
    log.log.info("lost");
    expect(log.state()).toMatchObject({ waiting: 1, why: "bad file descriptor" });
  });

  it("on a file is whole, and is written after what was there", () => {
    const path = join(folder(), "log");
    writeFileSync(path, "before\n");
    const log = makeLog("text", open(path, constants.O_WRONLY | constants.O_APPEND));
    fill(log);
    log.log.info("y".repeat(100_000));
    expect(log.state()).toEqual({ lost: 0, waiting: 0 });
    const lines = linesOf(readFileSync(path, "utf8"));
    expect([lines[0], lines.length]).toEqual(["before", LINES + 2]);
  });

  it("leaves the flags of the descriptor, which other processes share, as they are", () => {
    const { writer } = pipe();
    const flags = () => readFileSync(`/proc/self/fdinfo/${writer}`, "utf8");
    const before = flags();
    fill(makeLog("text", writer));
    expect(flags()).toBe(before);
  });

  it("is JSON without a terminal, or the configured format", () => {
    const path = join(folder(), "log");
    const fd = open(path, constants.O_WRONLY | constants.O_CREAT);
    makeLog(undefined, fd).log.info({ n: 1 }, "first");
    makeLog("text", fd).log.info({ n: 2 }, "second");
    makeLog("json", fd).log.error("third");
    const [first, second, third] = linesOf(readFileSync(path, "utf8"));
    expect(JSON.parse(first!)).toMatchObject({ level: "info", n: 1, msg: "first" });
    expect(second).toMatch(/^\d\d:\d\d:\d\d second n=2$/);
    expect(JSON.parse(third!)).toMatchObject({ level: "error", msg: "third" });
  });
});
