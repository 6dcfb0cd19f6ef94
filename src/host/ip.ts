/** Runs the `ip` command of iproute2: queries with answers in JSON, and changes in batches. */
import { execFile } from "node:child_process";
import type { Family } from "../address.js";
import { WeftError } from "../error.js";

const TIMEOUT_MS = 10_000;
/** Bytes of output, enough for some hundred thousand routes in JSON. */
const MAX_OUTPUT = 64 * 1024 * 1024;
/** The message of `ip` for a line of a batch that failed. */
const FAILED_LINE = /^Command failed -:(\d+)/gm;

/** Runs one query: `ask("-6", "route", "show")` is `ip -j -6 route show`. */
export async function ask<T>(...words: string[]): Promise<T[]> {
  const { stdout } = await ip(["-j", ...words]);
  return read(stdout || "[]", words.join(" "));
}

/**
 * Runs many queries in one process.
 * @returns for each query the first row of its answer; undefined for one that the kernel refuses
 */
export async function askEach<T>(questions: readonly string[]): Promise<(T | undefined)[]> {
  if (questions.length === 0) return [];
  const { stdout, stderr } = await ip(["-j", "-force", "-batch", "-"], {
    input: linesOf(questions),
    mayFail: true,
  });
  const refused = new Set([...stderr.matchAll(FAILED_LINE)].map(([, line]) => Number(line)));
  const answers = stdout.split("\n").filter((line) => line !== "");
  return questions.map((question, i) => {
    const answer = refused.has(i + 1) ? undefined : answers.shift();
    return answer === undefined ? undefined : read<T>(answer, question)[0];
  });
}

/** Runs many queries in one process. @returns for each query all rows of its answer */
export async function askAll<T>(questions: readonly string[]): Promise<T[][]> {
  if (questions.length === 0) return [];
  const { stdout } = await ip(["-j", "-batch", "-"], { input: linesOf(questions) });
  const answers = stdout.split("\n");
  return questions.map((question, i) => read<T>(answers[i] || "[]", question));
}

/** The rows of an answer. Older versions of iproute2 print `{}` for each device that a query excludes. */
function read<T>(answer: string, question: string): T[] {
  try {
    const rows = JSON.parse(answer) as T[];
    return rows.filter((row) => Object.keys(row as object).length > 0);
  } catch {
    throw new WeftError(
      "IP",
      `"ip -j ${question}" did not answer in JSON`,
      "install Debian's iproute2; another ip command in PATH does not work",
    );
  }
}

/**
 * Makes changes in order, in one process. A failed one does not stop the next. Each change is of the
 * family of the address in it, or of the given one.
 * @throws WeftError IP, naming the first change that failed
 */
export async function change(commands: readonly string[], family?: Family): Promise<void> {
  if (commands.length === 0) return;
  try {
    const words = family === undefined ? [] : [`-${family}`];
    await ip([...words, "-force", "-batch", "-"], { input: linesOf(commands) });
  } catch (error) {
    const line = error instanceof WeftError && /Command failed -:(\d+)/.exec(error.message);
    if (!line) throw error;
    const why = error.message.split("\n", 1)[0]?.replace(/^.*RTNETLINK answers: /, "");
    throw new WeftError(
      "IP",
      `"ip ${commands[Number(line[1]) - 1]}" failed: ${why}`,
      "see what is in the way with: ip address; ip route",
    );
  }
}

const linesOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");

/** Runs `ip`. With `mayFail`, a nonzero exit code is no error, as long as the command itself runs. */
const ip = (
  args: string[],
  { input = "", mayFail = false } = {},
): Promise<{ stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    const options = {
      // This process's environment is not passed on, since it may hold the cluster secret.
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      timeout: TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT,
    };
    const child = execFile("ip", args, options, (error, stdout, stderr) => {
      const hasRun = typeof error?.code === "number";
      if (!error || (mayFail && hasRun)) return resolve({ stdout, stderr });
      if (error.code === "ENOENT") return reject(NO_IP());
      reject(new WeftError("IP", stderr.trim() || error.message, "see: ip address; ip route"));
    });
    // A child that ends before it has read its input is reported above.
    child.stdin?.on("error", () => {}).end(input);
  });

const NO_IP = () =>
  new WeftError(
    "NO_IP",
    "the ip command is not installed, or not in PATH",
    "install it with: apt install iproute2",
  );
