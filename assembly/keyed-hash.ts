/**
/**
 * Keyed hashes of addresses, for tables that strangers may fill: multiply-shift over 32-bit words
 * (Dietzfelbinger 1996). Without the secret multipliers, two addresses collide no more often than by
 * chance. The high bits are the good ones.
 */
import { FLOW_SEED } from "./memory";

/** Hash of the `count` words at `at`, at most 8. */
export function keyedHash(at: usize, words: u32): u64 {
  let h = secret(0);
  for (let i: u32 = 0; i < words; i++) h += secret(i + 1) * load<u32>(at + i * 4);
  return h;
}

/** The i-th number of the seed's sequence (SplitMix64: Steele, Lea, Flood 2014). */
function secret(i: u32): u64 {
  let z = load<u64>(FLOW_SEED) + (i + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
