import type { Clock } from "./mesh/clock.js";

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Milliseconds that mean the same in every thread, unlike `performance.now`. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;
