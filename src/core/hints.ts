/**
 * Path MTU hints from ICMP errors about verified peers, which `hintPathMtu` in
 * `assembly/tables/peer.ts` keeps for the control plane.
 */
import type { Core } from "./instance.js";

/** Positions of the peers with a new hint. A peer appears again only after its hint was taken. */
export function takeHinted({ layout, words, view }: Core): number[] {
  const taken = Atomics.load(words, layout.HINTS_TAKEN >> 2);
  const count = (Atomics.load(words, layout.HINTS_PUT >> 2) - taken) >>> 0;
  const places = Array.from({ length: count }, (_, i) =>
    view.getUint32(layout.HINTS + (((taken + i) >>> 0) % layout.MAX_PEERS) * 4, true),
  );
  Atomics.add(words, layout.HINTS_TAKEN >> 2, count);
  return places;
}

/** The smallest MTU hinted since the last call, in bytes of the inner packet. */
export function takeHint({ layout, words }: Core, place: number): number | undefined {
  const at = layout.PATH_MTU + place * layout.PATH_MTU_SIZE + layout.PATH_MTU_HINT;
  return Atomics.exchange(words, at >> 2, 0) || undefined;
}
