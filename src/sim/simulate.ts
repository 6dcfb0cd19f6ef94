/** Runs one simulation and returns its figures. */
import { Chaos, type ChaosKind, FROM_THE_START } from "./chaos.js";
import { LongPartitions } from "./long-partitions.js";
import { Splits } from "./splits.js";
import { World } from "./world.js";

/** Milliseconds between the starts of two nodes, and from the first start to the last; the shorter interval counts. */
const START_EVERY = 100;
const START_WITHIN = 10_000;
/** Milliseconds between two checks of convergence. */
const LOOK_EVERY = 1_000;
/**
 * Milliseconds that a cluster may take to come together, for each node and at least: a node that
 * restarts and meets no member grants nothing for five minutes.
 */
const SETTLE = { each: 1_000, least: 420_000 };
/** Kinds of chaos that keep no cluster from converging; with these alone a run is calm. */
const CALM: readonly ChaosKind[] = ["skew", "duplicates"];
/** Milliseconds for each node there is, until every node has probed its paths to all others, 16 a second. */
const PROBE_TIME = 70;
/** New records that are followed after the quiet minutes; milliseconds between two, and after the last. */
const PROBES = 60;
const PROBE_EVERY = 5_000;
const LAST_PROBE = 30_000;
/** 4,096 leases. */
export const NETWORK = "10.64.0.0/12";
/** 8 leases, so that revoked space is soon granted again. */
const SMALL_NETWORK = "10.64.0.0/21";

export interface SimulationOptions {
  readonly nodes: number;
  /** The probability that a segment is lost, 0 to 0.9. */
  readonly loss: number;
  /** Earlier probabilities: the cluster comes together with the first, and has a calm run with each in turn. */
  readonly before?: readonly number[];
  /** The probability until all nodes have come together; by default the first one used. */
  readonly startLoss?: number;
  readonly seed: number;
  /** Simulated minutes without faults, or of chaos. */
  readonly minutes: number;
  readonly chaos: readonly ChaosKind[];
  readonly network?: string;
}

/** The distribution of several measured durations, in seconds. */
export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The measures of a calm cluster. */
export interface Calm {
  /** From a new record until the last node has it; `open` counts the records that not all nodes got. */
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
  /** The measures with each of the earlier losses. */
  readonly earlier?: readonly (Calm & { readonly loss: number })[];
  readonly converged: boolean;
  /** The first disagreement, if it has not converged. */
  readonly disagreement?: string;
  readonly convergence: Calm["convergence"];
  /** Seconds until all nodes came together, at the start or after the chaos; absent if they did not. */
  readonly togetherAfter?: number;
  readonly perNodePerSecond: TrafficTotals;
  /** How often a running node was declared dead. */
  readonly falseDeaths: number;
  /** The first ten of them, as text. */
  readonly wrong: readonly string[];
  /**
   * From the death of a node until all others that were not paused had declared it dead; `byAll`:
   * until the paused ones had as well; `unseen`: how often a node never did.
   */
  readonly deaths: Spread & { readonly byAll: Spread; readonly unseen: number };
  /** With splits: from a newcomer's start on the larger side to its lease, and from a healing until all agree. */
  readonly splits?: { readonly allocation: Spread; readonly heal: Spread; readonly open: number };
  /** With long partitions: how often `weft forget` without `--force` succeeded. */
  readonly forgotten?: number;
  readonly doubleLeases: number;
  readonly doubles: readonly string[];
  /** Space without an owner, in leases: lost with a disk, or granted to a node that never accepted it. */
  readonly unowned: number;
  /** Space that its owners can still grant, in leases. */
  readonly spare: number;
  readonly trace: string;
  readonly simulatedSeconds: number;
}

export async function simulate(
  options: SimulationOptions,
  progress: (line: string) => void = () => {},
): Promise<SimulationResult> {
  return new Simulation(options, progress).run();
}

/** The measures of a run that the watch does not have. */
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
    const together = this.#hasTroubleFromTheStart ? undefined : await this.#comeTogether();
    const earlier = await this.#before();
    const rest = this.#isCalm ? await this.#calm(together) : await this.#runChaos();
    return this.#result({ ...rest, ...(earlier.length > 0 && { earlier }) });
  }

  /** Runs until all nodes agree and have probed their paths. Returns as `#settle`. */
  async #comeTogether(): Promise<number | undefined> {
    const togetherAfter = await this.#settle();
    await this.#runTo(this.#world.schedule.now + PROBE_TIME * this.#options.nodes);
    return togetherAfter;
  }

  /** Has a calm run with each of the earlier losses, then sets the loss of the main run. */
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

  /** Runs until all nodes agree. Returns the seconds that took; undefined when it took too long. */
  async #settle(): Promise<number | undefined> {
    const { nodes } = this.#options;
    const most = Math.max(SETTLE.least, nodes * SETTLE.each);
    const { schedule } = this.#world;
    const from = schedule.now;
    while (schedule.now - from < most) {
      await schedule.run(schedule.now + LOOK_EVERY);
      if (this.#world.hasConverged()) return (schedule.now - from) / 1000;
      this.#report("coming together");
    }
    return undefined;
  }

  async #calm(togetherAfter: number | undefined): Promise<RunRecord> {
    return { togetherAfter, traffic: await this.#rest() };
  }

  /** Runs some minutes without faults, then moves one node after another. */
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

  /** Injects faults for some minutes, repairs them, and runs until all nodes agree again. */
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
      this.#report("running");
    }
  }

  #report(what: string): void {
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

/** The distribution of some durations in milliseconds, as seconds. */
function spread(values: readonly number[]): Spread {
  const sorted = values.map((ms) => ms / 1000).sort((a, b) => a - b);
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
