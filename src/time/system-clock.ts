import { type Clock, clampTime } from "./clock.js";

/** The host's clock. */
export const systemClock: Clock = {
  now: () => clampTime(Date.now()),
  elapsed: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Monotonic milliseconds with the same origin in every thread, unlike `performance.now`. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;

/**
 * The time by `monotonic` when `performance.now` of this thread was 0. It is the least of a few
 * readings, because a pause between the two clocks only adds to a reading.
 */
export function performanceStart(): number {
  const readings = Array.from({ length: 8 }, () => {
    const now = performance.now();
    return monotonic() - now;
  });
  return Math.min(...readings);
}
