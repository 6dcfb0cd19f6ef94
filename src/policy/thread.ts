/**
 * The policy engine in a thread of its own: however long a policy takes, sessions and packets go
 * on, and the rules in force stay so meanwhile. The thread's memory and time are bounded.
 */
import { Worker } from "node:worker_threads";
import type { AclLayout } from "../compile/acl-table.js";
import { type Done, WeftError } from "../error.js";
import type {
  Compiled,
  Job,
  PolicyCompiler,
  PolicyFacts,
  TrialJob,
  TrialResult,
} from "./engine.js";
import type { Place } from "./place.js";

/** Bounds beyond those on work, which already keep every policy far below these. */
const MAX_HEAP_MB = 1024;
const MAX_MS = 60_000;
/** A timer this many milliseconds late means the process was suspended, and the thread with it. */
const SUSPENDED_MS = 1_000;

export type Order =
  | { readonly verb: "read"; readonly text: string }
  | { readonly verb: "compile"; readonly job: Job }
  | { readonly verb: "tryOut"; readonly job: TrialJob };

export type Reply =
  | { readonly result: unknown }
  | {
      readonly error: { readonly code: string; readonly message: string; readonly remedy: string };
    };

/**
 * Places encoded as one text: they are rarely needed, and receiving thousands of objects costs the
 * main thread time.
 */
interface Packed extends Omit<Compiled, "places"> {
  readonly places: string;
}

export const packed = (made: Compiled): Packed => ({
  ...made,
  places: JSON.stringify([...made.places()]),
});

function unpacked(made: Packed): Compiled {
  let places: ReadonlyMap<number, Place> | undefined;
  return {
    ...made,
    places: () => {
      places ??= new Map(JSON.parse(made.places) as [number, Place][]);
      return places;
    },
  };
}

interface Waiting {
  readonly order: Order;
  readonly done: Done<never>;
}

export class PolicyThread implements PolicyCompiler {
  readonly #layout: AclLayout;
  readonly #heapMb: number;
  readonly #ms: number;
  /** Waiting orders; the first one is under way. */
  readonly #queue: Waiting[] = [];
  #worker: Worker | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(layout: AclLayout, { heapMb = MAX_HEAP_MB, ms = MAX_MS } = {}) {
    this.#layout = layout;
    this.#heapMb = heapMb;
    this.#ms = ms;
  }

  read(text: string, done: Done<PolicyFacts>): void {
    this.#ask({ verb: "read", text }, done);
  }

  compile(job: Job, done: Done<Compiled>): void {
    this.#ask({ verb: "compile", job }, (made: Packed | WeftError) =>
      done(made instanceof WeftError ? made : unpacked(made)),
    );
  }

  tryOut(job: TrialJob, done: Done<TrialResult>): void {
    this.#ask({ verb: "tryOut", job }, done);
  }

  /** Ends the thread; pending orders get no answer. */
  async stop(): Promise<void> {
    this.#queue.length = 0;
    clearTimeout(this.#deadline);
    await this.#end();
  }

  #ask(order: Order, done: Done<never>): void {
    this.#queue.push({ order, done });
    if (this.#queue.length === 1) this.#next();
  }

  #next(): void {
    const [first] = this.#queue;
    if (!first) return;
    this.#worker ??= this.#start();
    this.#worker.postMessage(first.order);
    this.#watch();
  }

  #watch(): void {
    const due = performance.now() + this.#ms;
    this.#deadline = setTimeout(() => {
      if (performance.now() - due > SUSPENDED_MS) this.#watch();
      else this.#fail(`it took longer than ${this.#ms / 1000} s`);
    }, this.#ms);
  }

  #start(): Worker {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: { ...this.#layout },
      resourceLimits: { maxOldGenerationSizeMb: this.#heapMb },
    });
    worker.unref();
    worker.on("message", (reply: Reply) => this.#answer(reply));
    worker.on("error", ({ message }) => this.#fail(message));
    return worker;
  }

  #answer(reply: Reply): void {
    clearTimeout(this.#deadline);
    const done = this.#queue.shift()?.done as Done<unknown> | undefined;
    if ("result" in reply) done?.(reply.result);
    else done?.(new WeftError(reply.error.code, reply.error.message, reply.error.remedy));
    this.#next();
  }

  /** Fails the first order; the next one gets a new thread, without the state of this one. */
  #fail(why: string): void {
    void this.#end();
    const message = `the policy was given up: ${why}`;
    const remedy = "make the policy smaller, and report it: the limits should have refused it";
    this.#answer({ error: { code: "POLICY_FULL", message, remedy } });
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.removeAllListeners();
    // The end of the thread may be reported twice.
    worker?.on("error", () => {});
    await worker?.terminate();
  }
}
