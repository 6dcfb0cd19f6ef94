/** One simulation, from nothing to its figures. */
import { substituteSignatures } from "../identity/identity.js";
import { Chaos, type ChaosKind, FROM_THE_START } from "./chaos.js";
import { LongPartitions } from "./long-partitions.js";
import { cheapSignatures } from "./signatures.js";
import { Splits } from "./splits.js";
import { World } from "./world.js";

/** Milliseconds between the starts of two nodes, and within which all are started. */
const START_EVERY = 100;
const START_WITHIN = 10_000;
/** Milliseconds between two looks at whether all agree. */
const LOOK_EVERY = 1_000;
/**
 * Milliseconds a cluster may take to come together, for each node and at least: a node that came
 * back to none it knew gives nothing for five minutes.
 */
const SETTLE = { each: 1_000, least: 420_000 };
/** With these alone nothing happens that a cluster would have to come together after. */
const CALM: readonly ChaosKind[] = ["skew", "duplicates"];
/** Milliseconds, for each node, in which all try out the ways to all others, 16 a second: before that they are not at rest. */
const TRY_OUT = 70;
/** Records that are published to be followed, after the quiet minutes; milliseconds between two, and for the last. */
const PROBES = 60;
const PROBE_EVERY = 5_000;
const LAST_PROBE = 30_000;
/** 4,096 leases. */
export const NETWORK = "10.64.0.0/12";
/** 8 leases, where what was taken back is to be given again soon. */
const SMALL_NETWORK = "10.64.0.0/21";

export interface SimulationOptions {
  readonly nodes: number;
  /** The probability that a segment is lost, from 0. */
  readonly loss: number;
  /** That until then, one after the other: the cluster comes together with the first, and with each it is quiet and has new records to spread, as in a calm run. */
  readonly before?: readonly number[];
  /** That until all have come together, if it is another one. */
  readonly startLoss?: number;
  readonly seed: number;
  /** Simulated: of quiet, or of chaos. */
  readonly minutes: number;
  readonly chaos: readonly ChaosKind[];
  readonly network?: string;
}

/** Of what was measured several times, in seconds. */
export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What was measured of a calm cluster. */
export interface Calm {
  /** From a new record until the last node has it; of how many records not all had it in the end. */
  readonly convergence: Spread & { readonly open: number };
  readonly perNodePerSecond: TrafficTotals;
}

interface TrafficTotals {
  readonly messages: number;
  readonly bytes: number;
  readonly datagrams: number;
  readonly wireBytes: number;
}

export interface SimulationResult {
  /** With each of the losses before the last. */
  readonly earlier?: readonly (Calm & { readonly loss: number })[];
  readonly converged: boolean;
  /** What keeps it from that. */
  readonly disagreement?: string;
  readonly convergence: Calm["convergence"];
  /** Seconds until all nodes have come together, or again after the chaos. Missing if they have not. */
  readonly togetherAfter?: number;
  readonly perNodePerSecond: TrafficTotals;
  /** Nodes that lived and were declared dead; the first ten in words. */
  readonly falseDeaths: number;
  readonly wrong: readonly string[];
  /** From the death of a node until all others saw it that were awake meanwhile, and until the others did too; and how many never did. */
  readonly deaths: Spread & { readonly byAll: Spread; readonly unseen: number };
  /** With splits: from a newcomer's start on the larger side to its lease; from a healing until all agree. */
  readonly splits?: { readonly allocation: Spread; readonly heal: Spread; readonly open: number };
  /** With exiles: how often a node could be forgotten that nobody said was gone for good. */
  readonly forgotten?: number;
  readonly doubleLeases: number;
  readonly doubles: readonly string[];
  /** Leases' worth of space that nobody owns: lost with a disk, or never taken by who was given it. */
  readonly unowned: number;
  /** Leases' worth of space that its owners can still give. */
  readonly spare: number;
  readonly trace: string;
  readonly simulatedSeconds: number;
}

export async function simulate(
  options: SimulationOptions,
  progress: (line: string) => void = () => {},
): Promise<SimulationResult> {
  substituteSignatures(cheapSignatures);
  try {
    return await new Simulation(options, progress).run();
  } finally {
    substituteSignatures(undefined);
  }
}

/** What a run came to, besides what the watch saw. */
interface RunRecord {
  readonly earlier?: SimulationResult["earlier"];
  readonly togetherAfter: number | undefined;
  readonly traffic: TrafficTotals;
  readonly splits?: Splits | undefined;
  readonly longPartitions?: LongPartitions | undefined;
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #progress: (line: string) => void;
  readonly #world: World;
  readonly #isCalm: boolean;
  readonly #hasTroubleFromTheStart: boolean;

  constructor(options: SimulationOptions, progress: (line: string) => void) {
    this.#options = options;
    this.#progress = progress;
    const chaos = new Set(options.chaos);
    const { seed, loss, before = [], startLoss = before[0] ?? loss } = options;
    const { network = chaos.has("longPartitions") ? SMALL_NETWORK : NETWORK } = options;
    this.#world = new World({ seed, loss: startLoss, network, chaos });
    this.#isCalm = options.chaos.every((kind) => CALM.includes(kind));
    this.#hasTroubleFromTheStart = FROM_THE_START.some((kind) => chaos.has(kind));
  }

  async run(): Promise<SimulationResult> {
    this.#grow();
    const together = this.#hasTroubleFromTheStart ? undefined : await this.#repairAll();
    const earlier = await this.#before();
    const rest = this.#isCalm ? await this.#calm(together) : await this.#runChaos();
    return this.#result({ ...rest, ...(earlier.length > 0 && { earlier }) });
  }

  async #repairAll(): Promise<number | undefined> {
    const togetherAfter = await this.#settle();
    await this.#runTo(this.#world.schedule.now + TRY_OUT * this.#options.nodes);
    return togetherAfter;
  }

  /** Calm, with one loss after the other; then with that of the rest of the run. */
  async #before(): Promise<(Calm & { readonly loss: number })[]> {
    const { loss: last, before = [] } = this.#options;
    const earlier = [];
    for (const loss of before) {
      this.#world.network.loss = loss;
      const traffic = await this.#rest();
      const measured = { loss, convergence: this.#convergence(), perNodePerSecond: traffic };
      earlier.push(measured);
      this.#progress(JSON.stringify(measured));
    }
    this.#world.network.loss = last;
    return earlier;
  }

  #grow(): void {
    const { nodes } = this.#options;
    const every = Math.min(START_EVERY, START_WITHIN / nodes);
    for (let i = 0; i < nodes; i++) {
      const node = this.#world.add();
      this.#world.schedule.after(i * every, () => this.#world.start(node));
    }
  }

  /** Until all know all. Gives the seconds it took; nothing when it takes too long. */
  async #settle(): Promise<number | undefined> {
    const { nodes } = this.#options;
    const most = Math.max(SETTLE.least, nodes * SETTLE.each);
    const { schedule } = this.#world;
    const from = schedule.now;
    while (schedule.now - from < most) {
      await schedule.run(schedule.now + LOOK_EVERY);
      if (this.#world.hasConverged()) return (schedule.now - from) / 1000;
      this.#say("coming together");
    }
    return undefined;
  }

  async #calm(togetherAfter: number | undefined): Promise<RunRecord> {
    return { togetherAfter, traffic: await this.#rest() };
  }

  /** Nothing happens for some minutes; then node after node moves. */
  async #rest(): Promise<TrafficTotals> {
    const { schedule, watch, random } = this.#world;
    const began = schedule.now;
    watch.countTraffic();
    await this.#runTo(began + this.#options.minutes * 60_000);
    const traffic = this.#traffic(began);
    watch.followRecords();
    for (let i = 0; i < PROBES; i++) {
      await random.pick(this.#world.running())?.move();
      await this.#runTo(schedule.now + PROBE_EVERY);
    }
    await this.#runTo(schedule.now + LAST_PROBE);
    return traffic;
  }

  /** Things go wrong for some minutes; then they are mended, until all have come together again. */
  async #runChaos(): Promise<RunRecord> {
    const { schedule, random, watch } = this.#world;
    const kinds = new Set(this.#options.chaos);
    const began = schedule.now;
    watch.countTraffic();
    watch.followRecords();
    const chaos = new Chaos(this.#world, random.fork());
    const splits = kinds.has("splits") ? new Splits(this.#world, random.fork()) : undefined;
    const longPartitions = kinds.has("longPartitions")
      ? new LongPartitions(this.#world, random.fork())
      : undefined;
    chaos.start(kinds);
    splits?.start();
    longPartitions?.start();
    await this.#runTo(began + this.#options.minutes * 60_000);
    const traffic = this.#traffic(began);
    splits?.end();
    await longPartitions?.end();
    chaos.end();
    const togetherAfter = await this.#settle();
    return { togetherAfter, traffic, splits, longPartitions };
  }

  async #runTo(end: number): Promise<void> {
    const { schedule } = this.#world;
    while (schedule.now < end) {
      await schedule.run(Math.min(end, schedule.now + 10_000));
      this.#say("running");
    }
  }

  #say(what: string): void {
    const { schedule, watch, deathAudit } = this.#world;
    const { nodes } = this.#options;
    this.#progress(
      `${(schedule.now / 1000).toFixed(0)} s ${what}: ${this.#world.running().length} of ${nodes} nodes run, ` +
        `${watch.leases} leases, ${watch.messages} messages, ` +
        `${watch.doubleLeases.length} double leases, ${deathAudit.wrong.length} false deaths`,
    );
  }

  #convergence(): Calm["convergence"] {
    const { convergence, underway } = this.#world.watch;
    return { ...spread(convergence), open: underway };
  }

  #traffic(since: number): TrafficTotals {
    const { watch, schedule } = this.#world;
    const nodeSeconds = (this.#options.nodes * (schedule.now - since)) / 1000;
    return {
      messages: round(watch.messages / nodeSeconds),
      bytes: round(watch.bytes / nodeSeconds),
      datagrams: round(watch.datagrams / nodeSeconds),
      wireBytes: round(watch.wireBytes / nodeSeconds),
    };
  }

  #result({
    earlier,
    togetherAfter,
    traffic,
    splits,
    longPartitions,
  }: RunRecord): SimulationResult {
    const { watch, deathAudit, schedule } = this.#world;
    deathAudit.finish();
    const disagreement = this.#world.disagreement();
    return {
      ...(earlier && { earlier }),
      converged: this.#world.hasConverged(),
      ...(disagreement !== undefined && { disagreement }),
      convergence: this.#convergence(),
      ...(togetherAfter !== undefined && { togetherAfter }),
      perNodePerSecond: traffic,
      falseDeaths: deathAudit.wrong.length,
      wrong: deathAudit.wrong.slice(0, 10),
      deaths: {
        ...spread(deathAudit.deaths),
        byAll: spread(deathAudit.seenByAll),
        unseen: deathAudit.unseen,
      },
      ...(splits && {
        splits: {
          allocation: spread(splits.allocations),
          heal: spread(splits.heals),
          open: splits.open,
        },
      }),
      ...(longPartitions && { forgotten: longPartitions.forgotten }),
      doubleLeases: watch.doubleLeases.length,
      doubles: watch.doubleLeases.slice(0, 10),
      unowned: this.#world.unowned(),
      spare: this.#world.spare(),
      trace: watch.traceHash,
      simulatedSeconds: round(schedule.now / 1000),
    };
  }
}

/** Of milliseconds. */
function spread(values: readonly number[]): Spread {
  const sorted = values.map((ms) => ms / 1000).sort((a, b) => a - b);
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
