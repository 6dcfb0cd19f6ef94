/**
 * Puts the last measurements into README.md, between its two markers.
 *
 *     npm run bench:report
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describeMachine, type Machine } from "./machine.js";
import { inWords } from "./nanoseconds.js";
import { type OverlayName, overlays } from "./net/overlays.js";
import { comparison, type NetResult, type QuantityResult, udpBuffers } from "./net/result.js";
import { quantities } from "./net/works.js";
import { table } from "./table.js";

/** bench/results/core.json */
interface CoreResult extends Machine {
  readonly date: string;
  readonly rows: readonly CoreRow[];
}

interface CoreRow {
  readonly work: string;
  /** 0 for work without a size. */
  readonly bytes: number;
  readonly ns: number;
  readonly spread: string;
}

const README = new URL("../README.md", import.meta.url);
const RESULTS = new URL("results/", import.meta.url);
const MARKED = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/;

const text = readFileSync(README, "utf8");
if (!MARKED.test(text)) {
  console.error("README.md has no <!-- bench --> ... <!-- /bench -->: add the two lines first");
  process.exit(1);
}
const parts = [...between(read("net.json")), ...alone(read("core.json"))];
writeFileSync(
  README,
  text.replace(MARKED, (_, open, close) => `${open}\n${parts.join("\n")}\n\n${close}`),
);

function read<T>(name: string): T | undefined {
  const file = new URL(name, RESULTS);
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

/** Between two hosts: each row beside the one that it is compared with. */
function between(net: NetResult | undefined): string[] {
  if (net === undefined) return [];
  const names = Object.keys(overlays) as OverlayName[];
  return [
    `Between two hosts, medians of ${net.rounds} rounds (${net.date.slice(0, 10)}; ${describeMachine(net.machine)}; ${udpBuffers(net)}):`,
    "",
    ...table([
      ["", "unit", ...names, "weft : vxlan", "weft : vxlanOff", "weftOff : vxlanOff"],
      ...net.quantities.map((row) => [
        row.title,
        row.unit,
        ...names.map((name) => medianOf(row, name)),
        comparison(row.compared[0]),
        comparison(row.compared[2]),
        comparison(row.compared[1]),
      ]),
    ]),
    "",
    ...names.map((name) => `- ${name}: ${overlays[name]}`),
    "",
  ];
}

function medianOf({ name, overlays }: QuantityResult, overlay: OverlayName): string {
  return overlays[overlay].median.toFixed(quantities[name].digits);
}

/** The core alone: no system call is in these numbers. */
function alone(core: CoreResult | undefined): string[] {
  if (core === undefined) return [];
  return [
    `The core alone, nanoseconds for one packet or lookup (${core.date.slice(0, 10)}; ${describeMachine(core)}):`,
    "",
    ...table([
      ["work", "bytes", "ns", "spread"],
      ...core.rows.map((row) => [row.work, `${row.bytes || ""}`, inWords(row.ns), row.spread]),
    ]),
  ];
}
