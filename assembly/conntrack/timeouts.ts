/** How long a connection lives without a packet: as long as its state allows. */
import { NOW, TIMEOUTS } from "../memory";
import { Flow, NONE } from "./flow";

/** No packet of either direction for as long as its state allows. */
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
