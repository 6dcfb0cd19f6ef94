/**
 * Rendezvous hashing (Thaler and Ravishankar 1998), weighted: each slot belongs to the name with the
 * highest score for it. A name that leaves gives its slots to others and moves none of theirs; one that
 * comes takes only its own share.
 */

/** The winner of each slot, as an index of `names`; `count` is at most 65,536. */
export function rendezvous(
  names: readonly string[],
  weights: readonly number[],
  count: number,
): Uint16Array {
  const seeds = Uint32Array.from(names, seedOf);
  const isEqual = weights.every((weight) => weight === weights[0]);
  const winners = new Uint16Array(count);
  for (let slot = 0; slot < count; slot++) {
    const key = mix(slot + 1);
    winners[slot] = isEqual ? highest(seeds, key) : highestOf(seeds, weights, key);
  }
  return winners;
}

function highest(seeds: Uint32Array, key: number): number {
  let winner = 0;
  let best = -1;
  for (let i = 0; i < seeds.length; i++) {
    const score = mix(seeds[i]! ^ key) >>> 0;
    if (score <= best) continue;
    best = score;
    winner = i;
  }
  return winner;
}

/** The score is -weight / ln(u), where u is even in (0, 1): a name wins in proportion to its weight. */
function highestOf(seeds: Uint32Array, weights: readonly number[], key: number): number {
  let winner = 0;
  let best = -1;
  for (let i = 0; i < seeds.length; i++) {
    const u = ((mix(seeds[i]! ^ key) >>> 0) + 0.5) / 2 ** 32;
    const score = -weights[i]! / Math.log(u);
    if (score <= best) continue;
    best = score;
    winner = i;
  }
  return winner;
}

/** FNV-1a, mixed. */
function seedOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return mix(h);
}

/** Changes every bit with each bit (MurmurHash3's finalizer, Appleby 2011). */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
