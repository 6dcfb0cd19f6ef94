/**
 * Time and randomness, handed in so that a test controls both. `elapsed` measures durations; `now`
 * dates records and logs.
 */
export interface Clock {
  /**
   * The time of day: whole milliseconds since the epoch, from 0 to `MAX_TIME` (`clampTime`). An
   * operator can set it, so it measures no durations.
   */
  now(): number;
  /** Milliseconds since an arbitrary moment in the past; monotonic and steady. */
  elapsed(): number;
  /** Calls `fn` once, `ms` milliseconds from now. Returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** A number from 0 up to, not including, 1. For jitter, never for secrets. */
  random(): number;
}

/** The end of the year 9999, in milliseconds since the epoch. ISO 8601 has no later year of four digits. */
export const MAX_TIME = 253_402_300_799_999;

/** Limits a host's time to what a record and the disk can hold: 0 to `MAX_TIME`. */
export const clampTime = (ms: number): number => Math.min(Math.max(ms, 0), MAX_TIME);

/** Formats a time as ISO 8601, to the second. */
export const toIso = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, "Z");

/** A sentence for the operator if the host's clock is outside these bounds; `now` is already clamped. */
export function clockProblem(now: number): string | undefined {
  if (now > 0 && now < MAX_TIME) return undefined;
  const year = now > 0 ? "after the year 9999" : "before 1970";
  return `the clock of this host is set to a time ${year}: set it right (timedatectl set-ntp true)`;
}

/** Calls `fn` every `ms` milliseconds, plus or minus a quarter so that nodes do not synchronize. */
export function every(clock: Clock, ms: number, fn: () => void): () => void {
  let cancel: () => void;
  const again = () => {
    cancel = clock.after(ms * (0.75 + clock.random() / 2), () => {
      again();
      fn();
    });
  };
  again();
  return () => cancel();
}

/** A random element; undefined for an empty list. */
export const randomOf = <T>(clock: Clock, all: readonly T[]): T | undefined =>
  all[Math.floor(clock.random() * all.length)];
