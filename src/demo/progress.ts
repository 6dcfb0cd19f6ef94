/** Prints one line per step of the demo, with the seconds since its start. */
const began = performance.now();

export function progress(step: string, what: string): void {
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`${seconds.padStart(5)} s  ${step.padEnd(8)}  ${what}`);
}
