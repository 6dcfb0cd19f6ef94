/**
 * Says to an operator which clocks are off. Leases never compare the clocks of two nodes, so this is
 * no problem of the overlay.
 */

import { FENCE_AFTER } from "../lease/fence.js";
import { toIso } from "../time/clock.js";

/** Clocks that differ by no more than this count as equal, in milliseconds. */
export const MAX_CLOCK_DIFFERENCE = 60_000;
/** Members that are named: those whose clocks differ most. */
export const NAMED_CLOCKS = 3;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export interface MemberClock {
  readonly name: string;
  /** Milliseconds by which it is ahead of this host's clock; negative: behind. */
  readonly aheadMs: number;
}

/**
 * A sentence for each clock that is off. The median of all, with this host's clock, tells which are
 * right; where half of them disagree with the other half, nothing does.
 */
export function clockNotes(members: readonly MemberClock[], now: number): string[] {
  const sorted = [0, ...members.map(({ aheadMs }) => aheadMs)].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!];
  const hasMedian = !differ(low, high);
  const say = (sentence: string, member: MemberClock) =>
    `${sentence} (${member.name}: ${toIso(now + member.aheadMs)}, here: ${toIso(now)}): ${ADVICE}`;

  const right = members.find(({ aheadMs }) => aheadMs === low);
  if (hasMedian && differ(0, low) && right) {
    const than = apart(-right.aheadMs);
    return [say(`this host's clock is ${than} that of ${right.name} and most others`, right)];
  }
  const which = hasMedian ? "this host's and most others" : "this host's; either may be wrong";
  return members
    .filter(({ aheadMs }) => differ(0, aheadMs))
    .sort((a, b) => Math.abs(b.aheadMs) - Math.abs(a.aheadMs))
    .slice(0, NAMED_CLOCKS)
    .map((member) =>
      say(`the clock of ${member.name} is ${apart(member.aheadMs)} ${which}`, member),
    );
}

const differ = (a: number, b: number): boolean => Math.abs(a - b) > MAX_CLOCK_DIFFERENCE;

const apart = (ms: number): string => `${span(Math.abs(ms))} ${ms < 0 ? "behind" : "ahead of"}`;

function span(ms: number): string {
  const minutes = Math.round(ms / MINUTE);
  const hours = Math.floor(minutes / 60);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

const ADVICE =
  "leases stay safe, but times in logs and lists are wrong, and a node whose clock is set right by " +
  `${Math.floor(FENCE_AFTER / HOUR)} h or more stops until the granters of its lease confirm it; ` +
  "run an NTP client there (chrony, systemd-timesyncd)";
