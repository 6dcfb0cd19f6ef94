/** `npm run graph`: what each layer of `src/` imports from others, from the bottom up. */
import { imports, isUpward, layerOf } from "./graph.js";
import { LAYERS } from "./layers.js";

const all = imports().filter(({ from, to }) => layerOf(from) !== layerOf(to));
const width = Math.max(...LAYERS.map((layer) => layer.length));

for (const layer of LAYERS) {
  const counts = new Map<string, number>();
  for (const { from, to } of all) {
    if (layerOf(from) === layer) counts.set(layerOf(to), (counts.get(layerOf(to)) ?? 0) + 1);
  }
  const below = LAYERS.filter((other) => counts.has(other));
  const words = below.map((other) => `${other} ${counts.get(other)}`).join(", ");
  console.log(`${layer.padEnd(width)}  ${words}`.trimEnd());
}

const upward = all.filter(isUpward);
console.log(`\n${upward.length} imports point up`);
for (const { from, to } of upward) console.log(`  ${from} -> ${to}`);
