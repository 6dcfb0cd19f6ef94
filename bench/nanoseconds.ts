/** Measures the time of a function, with benchmark.js. */
import Benchmark from "benchmark";
import { quantile } from "./statistics.js";

/** Nanoseconds a run: the median of the samples, and half of the distance between the outer deciles. */
export function nanoseconds(run: () => void): { median: number; spread: number } {
  const bench = new Benchmark(run, { maxTime: 0.6, minSamples: 20 });
  bench.run({ async: false });
  // benchmark.js does not throw errors.
  if (bench.error) throw bench.error;
  const at = (q: number) => quantile(bench.stats.sample, q) * 1e9;
  return { median: at(0.5), spread: (at(0.9) - at(0.1)) / 2 };
}

/** Nanoseconds, or milliseconds for large numbers. */
export const inWords = (ns: number): string =>
  ns < 1e5 ? ns.toFixed(1) : `${(ns / 1e6).toFixed(1)} ms`;
