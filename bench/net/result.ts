/** The result of a run, in the shape of bench/results/net.json, from which README.md's table is made. */
import { describeMachine, type Machine } from "../machine.js";
import type { Spread } from "../statistics.js";
import { table } from "../table.js";
import { type OverlayName, overlays } from "./overlays.js";
import { type QuantityName, quantities } from "./works.js";

export interface NetResult {
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly machine: Machine;
  /** Duration of one flow. */
  readonly seconds: number;
  readonly rounds: number;
  /** Bytes of iperf3's socket buffers for UDP. */
  readonly udpBuffer: number;
  readonly overlays: typeof overlays;
  readonly quantities: readonly QuantityResult[];
}

export interface QuantityResult {
  readonly name: QuantityName;
  readonly title: string;
  readonly unit: string;
  readonly overlays: Readonly<Record<OverlayName, Spread>>;
  /** weft beside the kernel: ratios of medians, or their difference in the same unit. */
  readonly compared: readonly Compared[];
}

export interface Compared {
  readonly overlay: OverlayName;
  readonly to: OverlayName;
  readonly ratio?: number;
  readonly difference?: number;
}

/** Pairs to compare: like with like, and unchanged weft with a kernel without offloads. */
const PAIRS = [
  ["weft", "vxlan"],
  ["weftOff", "vxlanOff"],
  ["weft", "vxlanOff"],
] as const;

export function quantityResult(
  name: QuantityName,
  measured: Readonly<Record<OverlayName, Spread>>,
): QuantityResult {
  const { title, unit, compare } = quantities[name];
  const compared = PAIRS.map(([overlay, to]): Compared => {
    const [one, other] = [measured[overlay].median, measured[to].median];
    if (compare === "ratio") return { overlay, to, ratio: one / other };
    return { overlay, to, difference: one - other };
  });
  return { name, title, unit, overlays: measured, compared: compare === "none" ? [] : compared };
}

/** The result as one Markdown page. */
export function markdown(result: NetResult): string {
  const { date, machine, seconds, rounds, quantities: rows } = result;
  const names = Object.keys(overlays) as OverlayName[];
  return [
    "# weft beside the kernel's own VXLAN",
    "",
    "Made by `npm run bench:net`; do not edit. Two hosts on one machine, joined by veth and a bridge.",
    "",
    `- ${date.slice(0, 10)}, ${describeMachine(machine)}`,
    `- median (lowest - highest) of ${rounds} interleaved rounds, ${seconds} s a flow; ${udpBuffers(result)}`,
    ...names.map((name) => `- **${name}**: ${overlays[name]}`),
    "",
    ...table([
      ["", "unit", ...names, ...PAIRS.map(([one, other]) => `${one} : ${other}`)],
      ...rows.map((row) => [
        row.title,
        row.unit,
        ...names.map((name) => cell(row, row.overlays[name])),
        ...PAIRS.map((_, i) => comparison(row.compared[i])),
      ]),
    ]),
    "",
  ].join("\n");
}

/** Results for UDP depend on it. */
export const udpBuffers = ({ udpBuffer }: NetResult): string =>
  `UDP through socket buffers of ${udpBuffer / 1024} KiB at iperf3`;

function cell({ name }: QuantityResult, { median, min, max }: Spread): string {
  const text = (value: number) => value.toFixed(quantities[name].digits);
  return `${text(median)} (${text(min)} - ${text(max)})`;
}

export function comparison(compared: Compared | undefined): string {
  if (compared?.ratio !== undefined) return compared.ratio.toFixed(2);
  if (compared?.difference === undefined) return "";
  return `${compared.difference < 0 ? "" : "+"}${compared.difference.toFixed(0)} us`;
}
