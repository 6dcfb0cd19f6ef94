/** The seed of every random test: from WEFT_SEED, or drawn and printed. */
export const seed = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`WEFT_SEED=${seed}`);

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function randomFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
