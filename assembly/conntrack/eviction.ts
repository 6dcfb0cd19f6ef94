/** Chooses the flow to evict for a new one whose two sets are full (docs/flows.md, "Under pressure"). */
import { isFlooding, isHeavy, outweighs } from "./account";
import {
  Flow,
  isHalfOpen,
  isPointedAt,
  MAPPED,
  NONE,
  needsRecords,
  OTHER_REPLIED,
  TIME_WAIT,
} from "./flow";
import { recordAt, SET_SIZE } from "./table";
import { isExpired, quietFor } from "./timeouts";

// Ranks: flows of a low rank are evicted first.
const OVER: u32 = 0;
const OPEN: u32 = 1;
const HALF_OPEN: u32 = 2;
const EXCHANGE: u32 = 3;
const CONNECTION: u32 = 4;
const NEVER: u32 = 5;

/**
 * The flow to evict for a new one. The second set is searched if an eviction from the first would end
 * a working connection.
 */
export function giveWay(first: u32, second: u32, account: u32, isPoliced: bool): Flow {
  const flow = leastIn(first, account, isPoliced);
  const rank = flow == NONE ? NEVER : rankOf(flow, account, isPoliced);
  if (rank <= HALF_OPEN) return flow;
  const other = leastIn(second, account, isPoliced);
  return other != NONE && rankOf(other, account, isPoliced) < rank ? other : flow;
}

/** Among the flows of the lowest rank in the set, the one that is idle longest. */
function leastIn(set: u32, account: u32, isPoliced: bool): Flow {
  let least = NONE;
  let soonest = NEVER;
  let longest: u32 = 0;
  for (let i: u32 = 0; i < SET_SIZE; i++) {
    const flow = recordAt(set * SET_SIZE + i);
    const rank = rankOf(flow, account, isPoliced);
    if (rank == OVER) return flow;
    if (rank > soonest || rank == NEVER) continue;
    const quiet = quietFor(flow);
    if (rank == soonest && quiet <= longest) continue;
    least = flow;
    soonest = rank;
    longest = quiet;
  }
  return least;
}

/**
 * The rank of a flow for a new one on this account. A flow without policy loses only its record; a new
 * flow without policy evicts no other. A policed connection is evicted for its own account while it is
 * half-open, or an exchange of datagrams; for another account only if that account holds less, or if
 * the exchange was one packet each way. A flooding party evicts no answered connection of another
 * account.
 */
function rankOf(flow: Flow, account: u32, isPoliced: bool): u32 {
  if (isPointedAt(flow)) return NEVER;
  if (flow.state == MAPPED) return isExpired(flow) ? OVER : NEVER;
  if (flow.state >= TIME_WAIT || isExpired(flow)) return OVER;
  if (!needsRecords(flow)) return OPEN;
  if (!isPoliced) return NEVER;
  const holder: u32 = flow.account;
  if (isHalfOpen(flow.state)) return holdsHalfOpen(holder, account) ? NEVER : HALF_OPEN;
  const isOwn = holder == account;
  const isExchange = flow.state <= OTHER_REPLIED;
  if (isExchange && isAnsweredOnce(flow) && (isOwn || !isFlooding(account))) return HALF_OPEN;
  if (isOwn) return isExchange ? EXCHANGE : NEVER;
  if (isFlooding(account) || !isHeavy(holder, account)) return NEVER;
  if (!outweighs(holder, account, 2)) return NEVER;
  return isExchange ? EXCHANGE : CONNECTION;
}

/** Whether half-open connections of the first account are safe from new ones of the other. */
function holdsHalfOpen(holder: u32, account: u32): bool {
  if (holder == account || isFlooding(holder)) return false;
  return isFlooding(account) || !outweighs(holder, account, 1);
}

/** Whether there was one packet each way, as for a query and its reply: most such exchanges are over. */
function isAnsweredOnce(flow: Flow): bool {
  return flow.packets + flow.twin.packets <= 2;
}
