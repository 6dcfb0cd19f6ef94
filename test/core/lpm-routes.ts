/**
 * Route tables of any size that look like the Internet's: the prefix lengths in
 * about the shares of public BGP tables of 2024, most routes inside another one.
 */
import type { Family } from "../../src/address.js";
import { type RouteList, wordsOf } from "../../src/compile/rib.js";

/** Of 1000 routes, how many have this length. */
const SHARES: Record<Family, Record<number, number>> = {
  4: {
    8: 0.02,
    9: 0.02,
    10: 0.04,
    11: 0.1,
    12: 0.3,
    13: 0.6,
    14: 1.2,
    15: 2,
    16: 14,
    17: 8,
    18: 14,
    19: 26,
    20: 46,
    21: 51,
    22: 113,
    23: 103,
    24: 619,
    25: 0.4,
    27: 0.3,
    29: 0.4,
    30: 0.4,
    32: 0.8,
  },
  6: {
    20: 0.1,
    24: 0.3,
    28: 2,
    29: 26,
    30: 4,
    31: 3,
    32: 108,
    33: 17,
    34: 13,
    35: 9,
    36: 52,
    37: 5,
    38: 11,
    39: 9,
    40: 86,
    41: 5,
    42: 21,
    43: 7,
    44: 104,
    45: 17,
    46: 33,
    47: 27,
    48: 438,
    56: 0.7,
    64: 0.9,
    128: 0.4,
  },
};

/** Where addresses are given out: IPv4 unicast, the registries' blocks of IPv6. */
const FIRST_WORDS: Record<Family, (random: () => number) => number> = {
  4: (random) => Math.floor((1 + 223 * random()) * 2 ** 24),
  6: (random) => {
    const blocks = [0x20010000, 0x24000000, 0x26000000, 0x28000000, 0x2a000000, 0x2c000000];
    const block = blocks[Math.floor(random() * blocks.length)]!;
    // A registry gives from a corner of its block: the first bits vary least.
    return block + Math.floor(random() * random() * 2 ** (block === 0x20010000 ? 16 : 20));
  },
};

/**
 * Where a route lies: beside an earlier one of its length, as when a network
 * announces its parts one by one, or inside an earlier shorter one, or anywhere.
 */
const BESIDE = 0.55;
const INSIDE = 0.35;
/** A neighbour differs in its last bits only, this many at most. */
const NEAR = 6;
/** How often an earlier route is drawn that might do. */
const DRAWS = 8;

/** `count` distinct routes, with values from 1 to `values`. */
export function internetLike(
  family: Family,
  count: number,
  random: () => number,
  values = 1000,
): RouteList {
  const words = wordsOf(family);
  const addresses = new Uint32Array(count * words);
  const lengths = drawLengths(family, count, random);
  const anyBits = () => Math.floor(random() * 2 ** 32);
  const seen = new Set<string | number>();

  for (let i = 0; i < count; ) {
    const length = lengths[i]!;
    const how = random();
    const earlier = (fits: (length: number) => boolean): number => {
      for (let draw = 0; draw < DRAWS && i > 0; draw++) {
        const at = Math.floor(random() * i);
        if (fits(lengths[at]!)) return at;
      }
      return i;
    };
    let like = i;
    let kept = 0;
    if (how < BESIDE) {
      like = earlier((other) => other === length);
      kept = length - Math.ceil(random() * Math.min(NEAR, length));
    } else if (how < BESIDE + INSIDE) {
      like = earlier((other) => other < length);
      kept = lengths[like]!;
    }
    if (like === i) kept = 0;

    for (let word = 0; word < words; word++) {
      const bits = word === 0 && kept === 0 ? FIRST_WORDS[family](random) : anyBits();
      const keep = leadingOnes(kept - 32 * word);
      const of = addresses[like * words + word]!;
      addresses[i * words + word] =
        ((of & keep) | (bits & ~keep)) & leadingOnes(length - 32 * word);
    }
    const address = addresses.subarray(i * words, (i + 1) * words);
    const key = family === 4 ? address[0]! * 64 + length : `${address.join()}/${length}`;
    if (!seen.has(key)) {
      seen.add(key);
      i++;
      // The few short prefixes are soon all taken.
    } else if (random() < 0.1) lengths[i] = family === 4 ? 24 : 48;
  }
  return {
    count,
    addresses,
    lengths,
    values: Uint16Array.from({ length: count }, () => 1 + Math.floor(random() * values)),
  };
}

function drawLengths(family: Family, count: number, random: () => number): Uint8Array {
  const shares = Object.entries(SHARES[family]);
  const total = shares.reduce((sum, [, share]) => sum + share, 0);
  return Uint8Array.from({ length: count }, () => {
    let left = random() * total;
    const found = shares.find(([, share]) => {
      left -= share;
      return left < 0;
    });
    return Number((found ?? shares[shares.length - 1]!)[0]);
  });
}

/** A word whose first `n` bits are set, for any n. */
export const leadingOnes = (n: number): number =>
  n <= 0 ? 0 : n >= 32 ? 0xffffffff : (0xffffffff << (32 - n)) >>> 0;
