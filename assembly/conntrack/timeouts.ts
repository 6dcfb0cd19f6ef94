/** Timeouts of connections, by state. */
import { NOW, TIMEOUTS } from "../memory";
import { Flow, NONE } from "./flow";

/** Whether there was no packet in either direction within the timeout of its state. */
export function isExpired(flow: Flow): bool {
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
