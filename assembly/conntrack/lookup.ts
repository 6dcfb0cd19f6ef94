/** The record of a packet's flow: whether the flow is known, and whether what was decided for it holds. */
import { addressesOf, Packet } from "../packet";
import { forget } from "./connection";
import { Flow, isCurrent, NONE, pointAt, TIME_WAIT } from "./flow";
import { kindOf } from "./key";
import { find } from "./table";
import { isExpired } from "./timeouts";

/** Takes what is known of the packet's flow, if that holds still: its peer, its owner, its headers. */
export function recall(p: Packet, direction: u32): void {
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isCurrent(flow) || flow.state >= TIME_WAIT || isExpired(flow)) return;
  pointAt(p, flow);
}

/** The record of the packet's flow, whatever its generation; null if there is none that lives. */
export function seek(p: Packet, direction: u32): Flow {
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isExpired(flow)) return flow;
  forget(flow);
  return NONE;
}
