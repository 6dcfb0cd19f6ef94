/** How long something takes, by benchmark.js. */
import Benchmark from "benchmark";
import { quantile } from "./statistics.js";

/** Nanoseconds a run: the middle of the samples, and half of what lies between the outer tenths. */
export function nanoseconds(run: () => void): { median: number; spread: number } {
  const bench = new Benchmark(run, { maxTime: 0.6, minSamples: 20 });
  bench.run({ async: false });
  // benchmark.js keeps an error to itself.
  if (bench.error) throw bench.error;
  const at = (q: number) => quantile(bench.stats.sample, q) * 1e9;
  return { median: at(0.5), spread: (at(0.9) - at(0.1)) / 2 };
}

/** Milliseconds where nanoseconds would be too many to read. */
export const inWords = (ns: number): string =>
  ns < 1e5 ? ns.toFixed(1) : `${(ns / 1e6).toFixed(1)} ms`;
