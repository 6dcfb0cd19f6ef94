/** One simulation, from nothing to its figures. */
import { rememberSignatures } from "../mesh/identity.js";
import { Chaos, type ChaosKind } from "./chaos.js";
import { Signatures } from "./signatures.js";
import { World } from "./world.js";

/** Milliseconds between the starts of two nodes, and within which all are started. */
const START_EVERY = 100;
const START_WITHIN = 10_000;
/** Milliseconds between two looks at whether all agree. */
const LOOK_EVERY = 1_000;
/** Milliseconds a quiet cluster may take to come together, for each node and at least. */
const SETTLE = { each: 1_000, least: 120_000 };
/** Records that are published to be followed, after the quiet minutes; milliseconds between two, and for the last. */
const PROBES = 60;
const PROBE_EVERY = 5_000;
const LAST_PROBE = 30_000;
/** Of the time, what is chaos; the rest is for healing. */
const CHAOS_SHARE = 0.6;
/** 4,096 leases. */
export const NETWORK = "10.64.0.0/12";

export interface Options {
  readonly nodes: number;
  /** The probability that a segment is lost, from 0. */
  readonly loss: number;
  readonly seed: number;
  /** Simulated. Without chaos they begin when all nodes have come together. */
  readonly minutes: number;
  readonly chaos: readonly ChaosKind[];
  /** Ends a run with chaos as soon as it has healed. */
  readonly untilHealed?: boolean;
  readonly network?: string;
}

export interface Result {
  readonly converged: boolean;
  /** What keeps it from that. */
  readonly disagreement?: string;
  /** Seconds from a new record until the last node has it. */
  readonly convergence: { records: number; p50: number; p99: number; max: number };
  /** Seconds until all nodes have come together, or again after the chaos. Missing if they have not. */
  readonly togetherAfter?: number;
  readonly perNodePerSecond: { messages: number; bytes: number; wireBytes: number };
  readonly doubleLeases: number;
  readonly doubles: readonly string[];
  /** Leases that are lost with the disks of their owners. */
  readonly unowned: number;
  readonly trace: string;
  readonly simulatedSeconds: number;
}

export async function simulate(
  options: Options,
  progress: (line: string) => void = () => {},
): Promise<Result> {
  rememberSignatures(new Signatures());
  try {
    return await new Simulation(options, progress).run();
  } finally {
    rememberSignatures(undefined);
  }
}

/** What a run came to, besides what the watch saw. */
interface Course {
  readonly togetherAfter: number | undefined;
  readonly traffic: Result["perNodePerSecond"];
}

class Simulation {
  readonly #options: Options;
  readonly #progress: (line: string) => void;
  readonly #world: World;
  readonly #isCalm: boolean;

  constructor(options: Options, progress: (line: string) => void) {
    this.#options = options;
    this.#progress = progress;
    const { seed, loss, network = NETWORK } = options;
    const chaos = new Set(options.chaos);
    this.#world = new World({ seed, loss, network, chaos });
    this.#isCalm = [...chaos].every((kind) => kind === "skew" || kind === "duplicates");
  }

  async run(): Promise<Result> {
    this.#grow();
    const rest = this.#isCalm ? await this.#calm() : await this.#rough();
    return this.#result(rest);
  }

  #grow(): void {
    const { nodes } = this.#options;
    const every = Math.min(START_EVERY, START_WITHIN / nodes);
    for (let i = 0; i < nodes; i++) {
      const node = this.#world.add();
      this.#world.schedule.after(i * every, () => this.#world.start(node));
    }
  }

  /** Until all know all. Gives the seconds it took. */
  async #settle(): Promise<number | undefined> {
    const { nodes } = this.#options;
    const most = Math.max(SETTLE.least, nodes * SETTLE.each);
    return this.#untilConverged(most, 10 * LOOK_EVERY);
  }

  async #untilConverged(within: number, lookEvery = LOOK_EVERY): Promise<number | undefined> {
    const { schedule } = this.#world;
    const from = schedule.now;
    while (schedule.now - from < within) {
      await schedule.run(schedule.now + Math.min(lookEvery, from + within - schedule.now));
      if (this.#world.hasConverged()) return (schedule.now - from) / 1000;
      this.#say("coming together");
    }
    return undefined;
  }

  /** First all come together; then nothing happens for some minutes; then node after node moves. */
  async #calm(): Promise<Course> {
    const { schedule, watch, random } = this.#world;
    const togetherAfter = await this.#settle();
    const began = schedule.now;
    watch.countTraffic();
    await this.#runTo(began + this.#options.minutes * 60_000);
    const traffic = this.#traffic(began);
    watch.followRecords();
    for (let i = 0; i < PROBES; i++) {
      random.pick(this.#world.running())?.move();
      await this.#runTo(schedule.now + PROBE_EVERY);
    }
    await this.#runTo(schedule.now + LAST_PROBE);
    return { togetherAfter, traffic };
  }

  async #rough(): Promise<Course> {
    const { schedule, random, watch } = this.#world;
    watch.countTraffic();
    watch.followRecords();
    const chaos = new Chaos(this.#world, random.fork());
    const all = this.#options.minutes * 60_000;
    chaos.start(new Set(this.#options.chaos));
    await this.#runTo(schedule.now + all * CHAOS_SHARE);
    await chaos.end();
    const rest = all * (1 - CHAOS_SHARE);
    const end = schedule.now + rest;
    const togetherAfter = await this.#untilConverged(rest);
    if (!this.#options.untilHealed) await this.#runTo(end);
    return { togetherAfter, traffic: this.#traffic(0) };
  }

  async #runTo(end: number): Promise<void> {
    const { schedule } = this.#world;
    while (schedule.now < end) {
      await schedule.run(Math.min(end, schedule.now + 10_000));
      this.#say("running");
    }
  }

  #say(what: string): void {
    const { schedule, watch } = this.#world;
    const { nodes } = this.#options;
    this.#progress(
      `${(schedule.now / 1000).toFixed(0)} s ${what}: ${this.#world.running().length} of ${nodes} nodes run, ` +
        `${watch.leases} leases, ${watch.messages} messages, ${watch.doubleLeases.length} double leases`,
    );
  }

  #traffic(since: number): Result["perNodePerSecond"] {
    const { watch, schedule } = this.#world;
    const nodeSeconds = (this.#options.nodes * (schedule.now - since)) / 1000;
    return {
      messages: round(watch.messages / nodeSeconds),
      bytes: round(watch.bytes / nodeSeconds),
      wireBytes: round(watch.wireBytes / nodeSeconds),
    };
  }

  #result({ togetherAfter, traffic }: Course): Result {
    const { watch, schedule, lost } = this.#world;
    const disagreement = this.#world.disagreement();
    return {
      converged: this.#world.hasConverged(),
      ...(disagreement !== undefined && { disagreement }),
      convergence: spread(watch.convergence.map((ms) => ms / 1000)),
      ...(togetherAfter !== undefined && { togetherAfter }),
      perNodePerSecond: traffic,
      doubleLeases: watch.doubleLeases.length,
      doubles: watch.doubleLeases.slice(0, 10),
      unowned: lost.reduce((sum, { disk }) => sum + (disk.last.cluster?.leases.length ?? 0), 0),
      trace: watch.traceHash,
      simulatedSeconds: round(schedule.now / 1000),
    };
  }
}

function spread(values: readonly number[]): Result["convergence"] {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { records: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
