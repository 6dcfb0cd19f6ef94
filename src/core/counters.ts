/** Reads the counters of packets between batches, so that all totals agree. */
import type { Core } from "./instance.js";
import { type Reason, reasonNames } from "./reasons.js";

/** received = delivered + answered + the sum of dropped. */
export interface DirectionCounters {
  received: number;
  delivered: number;
  /** Packets answered with an ICMP error to the sender: the sum of answeredBy. */
  answered: number;
  /** By reason; reasons that never occurred are absent. */
  answeredBy: Partial<Record<Reason, number>>;
  /** By reason; reasons that never occurred are absent. */
  dropped: Partial<Record<Reason, number>>;
}

export interface InwardCounters extends DirectionCounters {
  /** Delivered packets that went on to another node. */
  relayed: number;
  /** Control datagrams passed to the mesh; they do not count as packets. */
  control: number;
  /** Control datagrams that were not taken in time: from known senders, and from all others. */
  controlDropped: number;
  controlDroppedUnknown: number;
}

export interface Counters {
  out: DirectionCounters;
  in: InwardCounters;
}

/** Packets and bytes of inner packets. */
export interface PeerTraffic {
  sentPackets: number;
  sentBytes: number;
  receivedPackets: number;
  receivedBytes: number;
}

/** Packets and bytes that a rule decided, or only counted. */
export interface RuleTraffic {
  packets: number;
  bytes: number;
}

export function readCounters(core: Core): Counters {
  return betweenBatches(core, () => ({
    out: readDirection(core, core.layout.OUT),
    in: {
      ...readDirection(core, core.layout.IN),
      relayed: readCounter(core, core.layout.COUNTER_RELAYED),
      control: readCounter(core, core.layout.COUNTER_CONTROL),
      controlDropped: readCounter(core, core.layout.COUNTER_CONTROL_DROPPED),
      controlDroppedUnknown: readCounter(core, core.layout.COUNTER_CONTROL_DROPPED_UNKNOWN),
    },
  }));
}

export function readTraffic(core: Core, peer: number): PeerTraffic {
  const { TRAFFIC, TRAFFIC_SIZE, TRAFFIC_SENT, TRAFFIC_RECEIVED, TRAFFIC_BYTES } = core.layout;
  const sent = TRAFFIC + peer * TRAFFIC_SIZE + TRAFFIC_SENT;
  const received = TRAFFIC + peer * TRAFFIC_SIZE + TRAFFIC_RECEIVED;
  return betweenBatches(core, () => ({
    sentPackets: readCounter(core, sent),
    sentBytes: readCounter(core, sent + TRAFFIC_BYTES),
    receivedPackets: readCounter(core, received),
    receivedBytes: readCounter(core, received + TRAFFIC_BYTES),
  }));
}

/** Traffic of rules, by their numbers. */
export function readRules(core: Core, numbers: readonly number[]): RuleTraffic[] {
  const { RULES, RULE_COUNTER_SIZE, RULE_COUNTER_BYTES } = core.layout;
  return betweenBatches(core, () =>
    numbers.map((number) => {
      const at = RULES + number * RULE_COUNTER_SIZE;
      return { packets: readCounter(core, at), bytes: readCounter(core, at + RULE_COUNTER_BYTES) };
    }),
  );
}

function readDirection(core: Core, direction: number): DirectionCounters {
  const { layout } = core;
  const at = layout.COUNTERS + direction * layout.COUNTERS_SIZE;
  return {
    received: readCounter(core, at + layout.COUNTER_RECEIVED),
    delivered: readCounter(core, at + layout.COUNTER_DELIVERED),
    answered: readCounter(core, at + layout.COUNTER_ANSWERED),
    answeredBy: readReasons(core, at + layout.COUNTER_ANSWERED_BY),
    dropped: readReasons(core, at + layout.COUNTER_DROPPED),
  };
}

/** The counters above 0 at this address, by reason. */
function readReasons(core: Core, at: number): Partial<Record<Reason, number>> {
  const counts: Partial<Record<Reason, number>> = {};
  reasonNames.forEach((name, i) => {
    const count = readCounter(core, at + i * 8);
    if (count > 0) counts[name] = count;
  });
  return counts;
}

const readCounter = (core: Core, at: number) => Number(core.view.getBigUint64(at, true));

/** More tries than any batch needs; a worker that died in a batch must not block its observer. */
const TRIES = 100;

/**
 * BATCH_SEQUENCE is odd during a batch. A read with the same even number before and after it
 * overlapped no batch.
 */
export function betweenBatches<T>(core: Core, read: () => T): T {
  const word = core.layout.BATCH_SEQUENCE >> 2;
  for (let i = 0; i < TRIES; i++) {
    const before = Atomics.load(core.words, word);
    if ((before & 1) === 1) {
      Atomics.wait(core.words, word, before, 1);
      continue;
    }
    const result = read();
    if (Atomics.load(core.words, word) === before) return result;
  }
  return read();
}
