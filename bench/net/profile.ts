/**
 * Profiles weft's workers: perf samples them on the CPU clock, which also works in virtual machines, and
 * counts their system calls. Counting slows them down, so each has a run of its own.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LabAgent } from "../../src/lab/agent.js";
import { RunningProgram } from "../../src/lab/running.js";
import { overlays, type WeftOverlay, weft } from "./overlays.js";
import { quantities, type Readings, type WorkName, works } from "./works.js";

const SAMPLES_PER_SECOND = 999;
/** Seconds from the start of a flow to the sampling, which ends before the flow does. */
const LEAD_SECONDS = 1;
/** Seconds after which hot code is compiled. */
const WARM_UP_SECONDS = 2;
const MOST_CALLS_SHOWN = 6;
const PERF_GRACE_MS = 60_000;

/** Places of a sample, by the symbol and the file that perf names; the first match applies. */
const PLACES: readonly (readonly [string, RegExp])[] = [
  ["kernel", /\(\[kernel|\(\[guest|\[k\]/],
  ["core", /wasm-function/],
  ["JavaScript", /\bJS:|Builtins_|Builtin:/],
  ["V8 (compiler, garbage)", /v8::internal::/],
  ["FFI", /koffi|libc\.so|napi_|v8::|v8impl|\/node\)/],
  ["else", /./],
];

interface Call {
  readonly name: string;
  readonly count: number;
  readonly totalMs: number;
}

/** The reason why this machine cannot profile; undefined if it can. */
export async function whyNoProfile(): Promise<string | undefined> {
  const { code } = await RunningProgram.start(["perf", "--version"]).finish(PERF_GRACE_MS);
  return code === 0 ? undefined : "perf is missing (Debian: linux-perf)";
}

/** Profiles with the offloads of the veth on, and with them off. */
export async function profile(
  chosen: readonly WorkName[],
  seconds: number,
  progress: (line: string) => void,
): Promise<string> {
  const pages: string[] = [];
  for (const [name, offloads] of [
    ["weft", "default"],
    ["weftOff", "off"],
  ] as const) {
    const overlay = await weft(offloads, ["--perf-basic-prof"]);
    const pids = overlay.agents.map(({ process }) => process.pid!);
    try {
      await works.tcp1(overlay, WARM_UP_SECONDS);
      for (const work of chosen) {
        progress(`profiling ${overlays[name]}: ${work}`);
        pages.push(`## ${overlays[name]}: ${await profileOne(overlay, work, seconds)}`);
      }
    } finally {
      await overlay.lab.close();
      for (const pid of pids) rmSync(`/tmp/perf-${pid}.map`, { force: true }); // V8 writes it there
    }
  }
  return pages.join("\n");
}

async function profileOne(overlay: WeftOverlay, name: WorkName, seconds: number): Promise<string> {
  const run = () => works[name](overlay, seconds + 2 * LEAD_SECONDS);
  const [readings, samples] = await Promise.all([run(), sample(overlay, seconds)]);
  const [, calls] = await Promise.all([run(), countCalls(overlay, seconds)]);
  const lines = [headline(readings), ""];
  for (const agent of overlay.agents) {
    const [thread, taken] = busiestThread(samples, agent);
    const busy = taken.length / (seconds * SAMPLES_PER_SECOND);
    lines.push(`host ${agent.host.name}, worker on a CPU ${percent(busy)} of the time; of that`);
    for (const [place, count] of places(taken)) {
      lines.push(`  ${place.padEnd(24)} ${percent(count / taken.length).padStart(6)}`);
    }
    lines.push("  system calls              calls/s    average us");
    for (const { name: call, count, totalMs } of calls.get(thread) ?? []) {
      const [rate, average] = [count / seconds, (1e3 * totalMs) / count];
      const row = [call.padEnd(20), rate.toFixed(0).padStart(8), average.toFixed(1).padStart(13)];
      lines.push(`    ${row.join(" ")}`);
    }
    lines.push("");
  }
  return lines.join("\n");
}

const headline = (readings: Readings): string =>
  Object.entries(readings)
    .map(([name, value]) => [quantities[name as keyof Readings], value] as const)
    .map(([{ title, unit, digits }, value]) => `${title} ${value.toFixed(digits)} ${unit}`)
    .join(", ");

/** Symbol and file of each sample, by its thread: `pid/tid`. */
async function sample(
  { lab, agents }: WeftOverlay,
  seconds: number,
): Promise<Map<string, string[]>> {
  const file = join(lab.folder, "perf.data");
  await perf(
    seconds,
    "record",
    "-e",
    "cpu-clock",
    "-F",
    `${SAMPLES_PER_SECOND}`,
    "-o",
    file,
    "-p",
    pidsOf(agents),
  );
  const script = ["perf", "script", "-i", file, "-F", "pid,tid,ip,sym,dso"];
  const { stdout } = await RunningProgram.start(script).finish(PERF_GRACE_MS);
  const threads = new Map<string, string[]>();
  for (const line of stdout.split("\n")) {
    const [, thread, place] = /^\s*(\d+\/\d+)\s+[0-9a-f]+\s+(.*)$/.exec(line) ?? [];
    if (thread === undefined || place === undefined) continue;
    const taken = threads.get(thread) ?? [];
    taken.push(place);
    threads.set(thread, taken);
  }
  return threads;
}

/** The system calls of each thread, by descending time. */
async function countCalls({ agents }: WeftOverlay, seconds: number): Promise<Map<string, Call[]>> {
  const text = await perf(seconds, "trace", "-s", "-p", pidsOf(agents));
  const threads = new Map<string, Call[]>();
  let calls: Call[] = [];
  for (const line of text.split("\n")) {
    const [, thread] = /^ \S+ \((\d+)\), \d+ events/.exec(line) ?? [];
    if (thread !== undefined) {
      calls = [];
      threads.set(thread, calls);
    }
    // name, calls, errors, total in milliseconds, ...
    const [, name, count, totalMs] = /^ +(\w+) +(\d+) +\d+ +([\d.]+) /.exec(line) ?? [];
    if (name !== undefined && calls.length < MOST_CALLS_SHOWN) {
      calls.push({ name, count: Number(count), totalMs: Number(totalMs) });
    }
  }
  return threads;
}

/** The dataplane worker is the busiest thread. */
function busiestThread(samples: Map<string, string[]>, { process }: LabAgent): [string, string[]] {
  const own = [...samples].filter(([thread]) => thread.startsWith(`${process.pid}/`));
  const [thread, taken] = own.sort(([, one], [, other]) => other.length - one.length)[0] ?? [
    "",
    [],
  ];
  return [thread.split("/")[1] ?? "", taken];
}

function places(taken: readonly string[]): [string, number][] {
  const counts = new Map(PLACES.map(([place]) => [place, 0]));
  for (const where of taken) {
    const [place] = PLACES.find(([, symbols]) => symbols.test(where))!;
    counts.set(place, counts.get(place)! + 1);
  }
  return [...counts].filter(([, count]) => count > 0);
}

/** Runs perf for that many seconds; its report is on stderr. */
async function perf(seconds: number, ...argv: string[]): Promise<string> {
  const forThatLong = ["--", "sleep", `${seconds}`];
  await sleep(1_000 * LEAD_SECONDS);
  const running = RunningProgram.start(["perf", ...argv, ...forThatLong]);
  const { code, stderr } = await running.finish(1_000 * seconds + PERF_GRACE_MS);
  if (code !== 0) throw new Error(`perf ${argv[0]} ended with ${code}: ${stderr.trim()}`);
  return stderr;
}

const pidsOf = (agents: readonly LabAgent[]): string =>
  agents.map(({ process }) => process.pid).join(",");

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
