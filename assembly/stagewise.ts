/** Single stages over the packets of a batch that went through before, for the benchmarks. */
import { DEVICE_COUNT, SEGMENT_COUNT, WIRE_COUNT } from "./memory";
import { packetAt } from "./packet";
import { decap } from "./stages/decap";
import { encap } from "./stages/encap";

export function encapAll(count: u32): void {
  store<u32>(WIRE_COUNT, 0);
  store<u32>(SEGMENT_COUNT, 0);
  for (let i: u32 = 0; i < count; i++) encap(packetAt(i));
}

export function decapAll(count: u32): i32 {
  store<u32>(DEVICE_COUNT, 0);
  let refused = 0;
  for (let i: u32 = 0; i < count; i++) refused |= decap(packetAt(i));
  return refused;
}

/** memory.copy, the yardstick. */
export function copy(to: usize, from: usize, length: usize): void {
  memory.copy(to, from, length);
}
