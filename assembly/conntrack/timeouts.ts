/** Timeouts of connections, by state. */
import { NOW, TIMEOUTS } from "../memory";
import { Flow, firstOf, MAPPED, NONE } from "./flow";

/**
 * Whether there was no packet in either direction within the timeout of its state. A mapping does not
 * expire while connections use it.
 */
export function isExpired(flow: Flow): bool {
  if (flow.state == MAPPED && firstOf(flow).packets) return false;
  const timeout = load<u32>(TIMEOUTS + ((<usize>flow.state) << 2));
  if (idle(flow) <= timeout) return false;
  return flow.twin == NONE || idle(flow.twin) > timeout;
}

export function quietFor(flow: Flow): u32 {
  return flow.twin == NONE ? idle(flow) : min(idle(flow), idle(flow.twin));
}

function idle(flow: Flow): u32 {
  return load<u32>(NOW) - flow.last;
}
