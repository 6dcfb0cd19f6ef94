/** `npm run graph`: what each room of `src/` imports from others, from the bottom up. */
import { imports, isUpward, roomOf } from "./graph.js";
import { ROOMS } from "./rooms.js";

const all = imports().filter(({ from, to }) => roomOf(from) !== roomOf(to));
const width = Math.max(...ROOMS.map((room) => room.length));

for (const room of ROOMS) {
  const counts = new Map<string, number>();
  for (const { from, to } of all) {
    if (roomOf(from) === room) counts.set(roomOf(to), (counts.get(roomOf(to)) ?? 0) + 1);
  }
  const below = ROOMS.filter((other) => counts.has(other));
  const words = below.map((other) => `${other} ${counts.get(other)}`).join(", ");
  console.log(`${room.padEnd(width)}  ${words}`.trimEnd());
}

const upward = all.filter(isUpward);
console.log(`\n${upward.length} imports point up`);
for (const { from, to } of upward) console.log(`  ${from} -> ${to}`);
