/** Time and chance, handed in, so that a test can own both. What lasts is measured by `elapsed`, what is written down is dated by `now`. */
export interface Clock {
  /**
   * The time of day: whole milliseconds since the epoch, from 0 to `MAX_TIME` (`dateable`). It can be set,
   * so it says nothing of how long something takes.
   */
  now(): number;
  /** Milliseconds since some moment before; they only ever grow, at one pace. */
  elapsed(): number;
  /** Calls `fn` once, `ms` milliseconds from now. Returns what cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** From 0 up to, not including, 1. For spreading things out, never for secrets. */
  random(): number;
}

/** The end of the year 9999: what is later, a Date may not be able to say. */
export const MAX_TIME = 253_402_300_799_999;

/** The nearest time to what a host's clock shows that a record and the disk can hold. */
export const clampTime = (ms: number): number => Math.min(Math.max(ms, 0), MAX_TIME);

/** As ISO 8601, to the second. */
export const toIso = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, "Z");

/** Says that the host's clock shows a time outside these bounds, as far as `now` tells. */
export function clockProblem(now: number): string | undefined {
  if (now > 0 && now < MAX_TIME) return undefined;
  const year = now > 0 ? "after the year 9999" : "before 1970";
  return `the clock of this host is set to a time ${year}: set it right (timedatectl set-ntp true)`;
}

/** Calls `fn` every `ms` milliseconds, give or take a quarter so that nodes do not march in step. */
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

/** One of them by chance; nothing where there are none. */
export const randomOf = <T>(clock: Clock, all: readonly T[]): T | undefined =>
  all[Math.floor(clock.random() * all.length)];
