/** The clock of a batch, and the removal of expired connections. */
import { CLOCK, FLOW_SET_BITS, NEXT_SWEPT, NOW, NOW_CLOCK, SWEEP_CLOCK, SWEPT_AT } from "../memory";
import { forget } from "./connection";
import { FREE } from "./flow";
import { isEmpty, recordAt, SET_SIZE, setMask } from "./table";
import { isExpired } from "./timeouts";

/**
 * NOW wraps after 2^32 milliseconds (49 days), so a record older than that would seem young. Two bounds
 * of 2^30 milliseconds (12 days), longer than any timeout, prevent it: after 12 days without a batch
 * all connections are removed, and every set is swept within that time.
 */
const LONGEST: f64 = 1073741824;

/** Sets NOW for a batch. Call it before any packet points to a record. */
export function takeTime(): void {
  const clock = load<f64>(CLOCK);
  const passed = clock - load<f64>(NOW_CLOCK);
  store<f64>(NOW_CLOCK, clock);
  store<u32>(NOW, <u32>(<u64>clock));
  if (passed > LONGEST) forgetAll();
  else if (clock - load<f64>(SWEEP_CLOCK) > LONGEST) sweepAll();
}

// ---------------------------------------------------------------------- expiry

/** Milliseconds in which all sets are swept once; most sets of a slice. */
const SWEEP: u32 = 8192;
const SLICE: u32 = 16;

/** Removes expired connections of the next few sets. Only before a batch: no packet points to a record. */
export function sweep(): void {
  const passed = load<u32>(NOW) - load<u32>(SWEPT_AT);
  const due = <u32>(((<u64>passed) << load<u32>(FLOW_SET_BITS)) / SWEEP);
  if (due == 0) return;
  // The fraction of a set's time that remains counts for the next slice; beyond a slice it is dropped.
  const left = due > SLICE ? 0 : passed - <u32>((<u64>due * SWEEP) >> load<u32>(FLOW_SET_BITS));
  store<u32>(SWEPT_AT, load<u32>(NOW) - left);
  const from = load<u32>(NEXT_SWEPT);
  const slice = min(due, SLICE);
  for (let i: u32 = 0; i < slice; i++) sweepSet((from + i) & setMask());
  const next = (from + slice) & setMask();
  store<u32>(NEXT_SWEPT, next);
  if (next < from) store<f64>(SWEEP_CLOCK, load<f64>(CLOCK));
}

/** Sweeps all sets at once, after a long time without batches. */
export function expireAll(): void {
  takeTime();
  sweepAll();
}

function sweepAll(): void {
  for (let set: u32 = 0; set <= setMask(); set++) sweepSet(set);
  store<u32>(NEXT_SWEPT, 0);
  store<f64>(SWEEP_CLOCK, load<f64>(CLOCK));
}

function sweepSet(set: u32): void {
  if (isEmpty(set)) return;
  for (let i: u32 = 0; i < SET_SIZE; i++) {
    const flow = recordAt(set * SET_SIZE + i);
    if (flow.state != FREE && isExpired(flow)) forget(flow);
  }
}

function forgetAll(): void {
  for (let set: u32 = 0; set <= setMask(); set++) {
    if (isEmpty(set)) continue;
    for (let i: u32 = 0; i < SET_SIZE; i++) {
      const flow = recordAt(set * SET_SIZE + i);
      if (flow.state != FREE) forget(flow);
    }
  }
}
