/**
 * The cost of the overlay between two hosts: weft beside the kernel's own VXLAN, through namespaces
 * joined by a bridge.
 *
 *     npm run bench:net                              everything; about four minutes
 *     npm run bench:net -- --seconds 2 --rounds 5    shorter flows, more rounds
 *     npm run bench:net -- --only tcp1,rtt -o json   some of it, as JSON
 *     npm run bench:net -- --profile                 where weft's time goes
 *
 * All overlays take turns within each round, and the result is the median of the rounds, so that a noisy
 * minute of the machine affects all of them. A run of everything with three rounds or more is kept in
 * bench/results/net.md and net.json.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { iperf, ping } from "../src/lab/measure.js";
import { whyNoLab } from "../src/lab/requirements.js";
import { machine } from "./machine.js";
import { type Overlay, type OverlayName, open, overlays } from "./net/overlays.js";
import { profile, whyNoProfile } from "./net/profile.js";
import { markdown, type NetResult, quantityResult } from "./net/result.js";
import {
  type QuantityName,
  quantities,
  type Readings,
  UDP_BUFFER,
  type WorkName,
  whyNoBuffer,
  works,
} from "./net/works.js";
import { spread } from "./statistics.js";

const FEWEST_ROUNDS_TO_KEEP = 3;
const RESULTS = new URL("results/", import.meta.url);

type Taken = Record<OverlayName, Readings[]>;

const { values: given } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: Object.keys(works).join(",") },
    output: { type: "string", short: "o", default: "table" },
    profile: { type: "boolean", default: false },
  },
});
const seconds = wholeNumber("seconds", given.seconds, 1, 600);
const rounds = wholeNumber("rounds", given.rounds, 1, 100);
const chosen = given.only.split(",").map(workName);
const why = whyNoLab();
if (why !== undefined) refuse(`${why}: this benchmark needs root and /dev/net/tun`);
const noBuffer = chosen.some((work) => work.startsWith("udp")) ? whyNoBuffer() : undefined;
if (noBuffer !== undefined) refuse(noBuffer);

if (given.profile) await explain();
else await compare();

async function explain(): Promise<void> {
  const why = await whyNoProfile();
  if (why !== undefined) refuse(`--profile: ${why}`);
  console.log(await profile(chosen, seconds, progress));
}

async function compare(): Promise<void> {
  const about = machine();
  const taken = await measureAll();
  const result: NetResult = {
    date: new Date().toISOString(),
    machine: about,
    seconds,
    rounds,
    udpBuffer: UDP_BUFFER,
    overlays,
    quantities: summary(taken),
  };
  const json = `${JSON.stringify(result, null, 2)}\n`;
  const page = markdown(result);
  process.stdout.write(given.output === "json" ? json : page);

  const whole = chosen.length === Object.keys(works).length && rounds >= FEWEST_ROUNDS_TO_KEEP;
  if (!whole) return progress("not everything was measured, so bench/results is as it was");
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(new URL("net.json", RESULTS), json);
  writeFileSync(new URL("net.md", RESULTS), page);
  progress("kept in bench/results/net.md and net.json");
}

async function measureAll(): Promise<Taken> {
  const names = Object.keys(overlays) as OverlayName[];
  const opened = new Map<OverlayName, Overlay>();
  const taken: Taken = { vxlan: [], weft: [], vxlanOff: [], weftOff: [] };
  try {
    for (const name of names) {
      progress(`setting up ${overlays[name]}`);
      const overlay = await open[name]();
      opened.set(name, overlay);
      await warmUp(overlay);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [name, overlay] of opened) {
        progress(`round ${round} of ${rounds}: ${overlays[name]}`);
        const readings: Readings = {};
        for (const work of chosen) Object.assign(readings, await works[work](overlay, seconds));
        taken[name].push(readings);
      }
    }
    return taken;
  } finally {
    for (const { lab } of opened.values()) await lab.close();
  }
}

/** Runs once before the measurement, so that neighbours are known and code is compiled. */
async function warmUp({ a, b, address }: Overlay): Promise<void> {
  await ping(a, address);
  await iperf(a, b, address, { seconds: 1 });
  await iperf(a, b, address, { udp: true, seconds: 1, length: 64 });
}

function summary(taken: Taken) {
  const names = Object.keys(overlays) as OverlayName[];
  const measured = (Object.keys(quantities) as QuantityName[]).filter(
    (quantity) => taken.weft[0]?.[quantity] !== undefined,
  );
  return measured.map((quantity) => {
    const spreads = names.map((name) => [
      name,
      spread(taken[name].map((readings) => readings[quantity]!)),
    ]);
    return quantityResult(quantity, Object.fromEntries(spreads));
  });
}

function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  return refuse(`--${flag} ${text}: give a whole number from ${least} to ${most}`);
}

function workName(text: string): WorkName {
  if (Object.hasOwn(works, text)) return text as WorkName;
  return refuse(`--only ${text}: give some of ${Object.keys(works).join(",")}`);
}

function refuse(line: string): never {
  console.error(`bench: ${line}`);
  process.exit(1);
}

function progress(line: string): void {
  console.error(`bench: ${line}`);
}
