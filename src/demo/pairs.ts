/** The table at the end of the demo: for every pair the median round trip and the answered pings. */
export interface PingPair {
  readonly from: string;
  readonly to: string;
  readonly sent: number;
  readonly rttMs: readonly number[];
}

export const pairsOf = <T>(nodes: readonly T[]): [T, T][] =>
  nodes.flatMap((from) => nodes.filter((to) => to !== from).map((to): [T, T] => [from, to]));

export const answered = ({ sent, rttMs }: PingPair): boolean => rttMs.length === sent;

export function pairsTable(pairs: readonly PingPair[]): string {
  const rows = pairs.map((pair) => [
    `${pair.from} -> ${pair.to}`,
    median(pair.rttMs)?.toFixed(3) ?? "-",
    answered(pair) ? "yes" : `${pair.rttMs.length} of ${pair.sent}`,
  ]);
  const width = Math.max(...rows.map(([pair = ""]) => pair.length));
  return [["pair", "rtt ms", "answered"], ...rows]
    .map(([pair = "", rtt = "", ok = ""]) => `  ${pair.padEnd(width)}  ${rtt.padStart(8)}  ${ok}`)
    .join("\n");
}

export const median = (values: readonly number[]): number | undefined =>
  [...values].sort((a, b) => a - b)[values.length >> 1];
