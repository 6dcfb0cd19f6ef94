/** The known word closest to what was typed. */

/** Words that other programs use, and the setting or flag that means the same here. */
const SAME_MEANING: Readonly<Record<string, string>> = {
  psk: "secret-file",
  key: "secret-file",
  password: "secret-file",
  token: "secret-file",
  hostname: "name",
  node: "name",
  seeds: "join",
  peers: "join",
  cidr: "network",
  subnet: "network",
  address: "underlay",
  ip: "underlay",
  listen: "underlay",
  advertise: "underlay",
  interface: "tun",
  iface: "tun",
  dev: "tun",
  device: "tun",
  "data-dir": "state",
  metrics: "http",
  api: "http",
  json: "output",
  format: "output",
  protocol: "proto",
  source: "src",
  destination: "dst",
};

export function didYouMean(typed: string, known: readonly string[]): string | undefined {
  const best = nearest(known, typed);
  return best && `did you mean "${best}"?`;
}

/** The known word that was meant, if one is close: by its meaning, by a part of it, or by its letters. */
export const nearest = (known: readonly string[], typed: string): string | undefined =>
  sameMeaning(typed, known) ?? sharedPart(typed, known) ?? alike(typed, known);

function sameMeaning(typed: string, known: readonly string[]): string | undefined {
  const meant = SAME_MEANING[bare(typed)];
  return known.find((word) => bare(word) === meant);
}

/** `secret` and `secret-path` share a part with `secret-file`. */
function sharedPart(typed: string, known: readonly string[]): string | undefined {
  const parts = partsOf(typed);
  const [only, ...others] = known.filter(
    (word) => partsOf(word)[0] === parts[0] && (parts.length === 1 || partsOf(word).length > 1),
  );
  return others.length === 0 ? only : undefined;
}

function alike(typed: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((word) => ({ word, distance: editDistance(bare(typed), bare(word)) }))
    .filter(({ word, distance }) => distance <= Math.ceil(bare(word).length / 3))
    .sort((a, b) => a.distance - b.distance);
  return best?.word;
}

const bare = (word: string): string => word.replace(/^-+/, "").toLowerCase();

const partsOf = (word: string): string[] => bare(word).split(/[-_]/);

/** Levenshtein distance: how many letters must be added, removed or changed. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...from.slice(0, 64)].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const changed = row[j]! + (letter === to[j] ? 0 : 1);
      next.push(Math.min(changed, row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}
