/**
 * Checks the backends of services from this node, each once in its interval. A backend is up until
 * its check has failed twice in a row, and again with the first success.
 */
import { EventEmitter } from "node:events";
import { type Endpoint, formatEndpoint } from "../address.js";
import type { Log } from "../log.js";
import type { Clock } from "../time/clock.js";
import type { NatDocument } from "./document.js";
import { endpointKey } from "./port.js";
import { inWords } from "./read.js";
import type { Backend, Check, Service } from "./service.js";

/** Most probes at once; others wait for one to end, and their intervals grow. */
export const MAX_PROBES = 128;
/** Failures in a row until a backend is down. */
export const FAILURES_UNTIL_DOWN = 2;
/** Share of the interval by which it may be longer, so that nodes do not synchronize. */
const JITTER = 0.1;
/** A timeout this many milliseconds late means that the process was suspended: the probe says nothing. */
const SUSPENDED = 500;

/**
 * Probes a backend. It resolves with nothing when the check passes, else with the reason as a part of
 * a sentence; it never rejects, and once the signal is aborted it resolves at once.
 */
export type Prober = (
  to: Endpoint,
  check: Check,
  signal: AbortSignal,
) => Promise<string | undefined>;

/** The state of a backend that gets no new flows. */
export interface Down {
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** The reason why the last check failed. */
  readonly why: string;
}

/** A backend of a service with a check. */
export interface CheckedBackend {
  readonly service: string;
  readonly to: Endpoint;
  readonly down: Down | undefined;
}

export interface HealthParts {
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warn">;
  readonly probe: Prober;
}

export interface HealthEvents {
  /** A backend is down, or up again. */
  changed: [];
}

interface Target {
  readonly service: string;
  readonly to: Endpoint;
  check: Check;
  /** In a row. */
  failures: number;
  down: Down | undefined;
  /** Ends the wait for the next probe, or the probe. */
  cancel(): void;
}

export class Health extends EventEmitter<HealthEvents> {
  readonly #parts: HealthParts;
  #document: NatDocument | undefined;
  readonly #targets = new Map<string, Target>();
  /** Those whose interval is over, in that order. */
  readonly #due = new Set<Target>();
  readonly #probes = new Set<Promise<void>>();
  #isRunning = false;
  #revision = 0;

  constructor(parts: HealthParts) {
    super();
    this.#parts = parts;
  }

  /** Another number after each change of a backend. */
  get revision(): number {
    return this.#revision;
  }

  start(): void {
    this.#isRunning = true;
    for (const target of this.#targets.values()) this.#wait(target, this.#firstWait(target));
  }

  /** Ends all probes and waits for their ends. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#due.clear();
    for (const target of this.#targets.values()) target.cancel();
    await Promise.all(this.#probes);
  }

  /** Checks the backends of this document from now on. One that it had before keeps its state. */
  follow(document: NatDocument): void {
    if (document === this.#document) return;
    this.#document = document;
    const before = new Map(this.#targets);
    this.#targets.clear();
    for (const service of document.services) {
      const { check } = service;
      if (!check) continue;
      for (const to of service.backends) {
        const key = keyOf(service, to);
        const target = before.get(key) ?? this.#newTarget(service, to, check);
        target.check = check;
        before.delete(key);
        this.#targets.set(key, target);
      }
    }
    for (const target of before.values()) {
      this.#due.delete(target);
      target.cancel();
    }
  }

  /** Whether a backend may get new flows: it is up, or has no check. */
  passes(service: Service, backend: Backend): boolean {
    return this.downOf(service, backend) === undefined;
  }

  /** The state of a backend that is down; undefined for one that is up, or has no check. */
  downOf(service: Service, backend: Backend): Down | undefined {
    return this.#targets.get(keyOf(service, backend))?.down;
  }

  checked(): CheckedBackend[] {
    return [...this.#targets.values()];
  }

  #newTarget({ name }: Service, to: Endpoint, check: Check): Target {
    const target: Target = {
      service: name,
      to,
      check,
      failures: 0,
      down: undefined,
      cancel: () => {},
    };
    if (this.#isRunning) this.#wait(target, this.#firstWait(target));
    return target;
  }

  /** Spreads the probes of a document's backends over the interval. */
  #firstWait({ check }: Target): number {
    return check.interval * this.#parts.clock.random();
  }

  #wait(target: Target, ms: number): void {
    target.cancel = this.#parts.clock.after(ms, () => {
      this.#due.add(target);
      this.#probeDue();
    });
  }

  #probeDue(): void {
    for (const target of this.#due) {
      if (this.#probes.size >= MAX_PROBES) return;
      this.#due.delete(target);
      const probe = this.#probe(target).finally(() => {
        this.#probes.delete(probe);
        this.#probeDue();
      });
      this.#probes.add(probe);
    }
  }

  async #probe(target: Target): Promise<void> {
    const { clock, probe } = this.#parts;
    const { to, check } = target;
    const begun = clock.elapsed();
    const ending = new AbortController();
    let isCancelled = false;
    const cancelTimeout = clock.after(check.timeout, () => ending.abort());
    target.cancel = () => {
      isCancelled = true;
      ending.abort();
    };
    const failure = await probe(to, check, ending.signal);
    cancelTimeout();
    if (isCancelled) return;
    const took = clock.elapsed() - begun;
    const interval = target.check.interval * (1 + JITTER * clock.random());
    this.#wait(target, Math.max(0, interval - took));
    if (!ending.signal.aborted) this.#take(target, failure);
    else if (took < check.timeout + SUSPENDED)
      this.#take(target, `no answer within ${inWords(check.timeout)}`);
  }

  #take(target: Target, failure: string | undefined): void {
    const wasDown = target.down !== undefined;
    if (failure === undefined) {
      target.failures = 0;
      target.down = undefined;
    } else {
      target.failures++;
      const isDown = target.failures >= FAILURES_UNTIL_DOWN;
      const since = target.down?.since ?? this.#parts.clock.now();
      if (isDown) target.down = { since, why: failure };
    }
    if (wasDown !== (target.down !== undefined)) this.#changed(target);
  }

  #changed({ service, to, down }: Target): void {
    const { log } = this.#parts;
    const backend = `service ${service}: the backend ${formatEndpoint(to)}`;
    if (down) log.warn(`${backend} gets no new flows, because its check fails: ${down.why}`);
    else log.info(`${backend} gets new flows again: its check passes`);
    this.#revision++;
    this.emit("changed");
  }
}

/** Equal for the same backend of the same service as long as its check asks the same. */
const keyOf = ({ name, check }: Service, to: Endpoint): string =>
  `${name} ${endpointKey(to)} ${check?.kind} ${check?.path}`;
