/** The beginning and the end of a batch: the tables that it searches, and the counting of its packets. */
import { captureAll, latchCapture } from "./capture";
import { sweep, takeTime } from "./conntrack/sweep";
import {
  BATCH_NUMBER,
  BATCH_SEQUENCE,
  COPY_IN_USE,
  COPY_SIZE,
  COUNTER_ANSWERED,
  COUNTER_ANSWERED_BY,
  COUNTER_DELIVERED,
  COUNTER_DROPPED,
  COUNTER_RECEIVED,
  COUNTER_RELAYED,
  COUNTERS,
  COUNTERS_SIZE,
  IN,
  LIVE_COPY,
  OUT,
  PACKET_COUNT,
  SEARCHED,
  TABLES,
  TRAFFIC,
  TRAFFIC_BYTES,
  TRAFFIC_NO_PATH,
  TRAFFIC_RECEIVED,
  TRAFFIC_SIZE,
} from "./memory";
import { Packet, packetAt } from "./packet";
import { ANSWERED, NO_PATH } from "./reason";

/** Claims the live copy of the tables. The publisher fills a copy only after it is released. */
export function beginBatch(): void {
  let copy: i32;
  do {
    copy = atomic.load<i32>(LIVE_COPY);
    atomic.store<i32>(COPY_IN_USE, copy + 1);
    // After a swap in between, the publisher may not have seen this claim: claim the new copy.
  } while (atomic.load<i32>(LIVE_COPY) != copy);
  store<usize>(SEARCHED, TABLES + copy * COPY_SIZE);
  store<u32>(PACKET_COUNT, 0);
  atomic.add<i32>(BATCH_SEQUENCE, 1);
  takeTime();
  store<u32>(BATCH_NUMBER, load<u32>(BATCH_NUMBER) + 1);
  sweep();
  latchCapture();
}

/** Counts the outcome of each packet of the batch once, captures it if asked for, and releases the tables. */
export function finishBatch(direction: u32): void {
  const count = load<u32>(PACKET_COUNT);
  const counters = COUNTERS + direction * COUNTERS_SIZE;
  for (let i: u32 = 0; i < count; i++) {
    const p = packetAt(i);
    if (p.verdict == 0) {
      add(counters + COUNTER_DELIVERED, 1);
      if (p.origin) countRelayed(p);
      else countTraffic(p.peer, direction, p.length);
    } else if (p.verdict & ANSWERED) {
      add(counters + COUNTER_ANSWERED, 1);
      add(counters + COUNTER_ANSWERED_BY + (p.verdict & ~ANSWERED) * 8, 1);
    } else {
      add(counters + COUNTER_DROPPED + p.verdict * 8, 1);
      if (p.verdict == NO_PATH) add(TRAFFIC + p.peer * TRAFFIC_SIZE + TRAFFIC_NO_PATH, 1);
    }
  }
  add(counters + COUNTER_RECEIVED, count);
  captureAll(direction);
  atomic.add<i32>(BATCH_SEQUENCE, 1);
  atomic.store<i32>(COPY_IN_USE, 0);
}

/** Counts a packet that came from one peer and went to another. */
function countRelayed(p: Packet): void {
  add(COUNTER_RELAYED, 1);
  countTraffic(p.origin, IN, p.length);
  countTraffic(p.peer, OUT, p.length);
}

/** Sent and received counters are adjacent: OUT and IN. */
function countTraffic(peer: u32, direction: u32, bytes: u32): void {
  const traffic = TRAFFIC + peer * TRAFFIC_SIZE + direction * TRAFFIC_RECEIVED;
  add(traffic, 1);
  add(traffic + TRAFFIC_BYTES, bytes);
}

function add(counter: usize, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n);
}
