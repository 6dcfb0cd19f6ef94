/** What the host may call, and the map of the memory it shares with the core. */

export { begin, settle } from "./batch";
export * from "./memory";
export { inbound, outbound } from "./pipeline";
export * from "./reason";
export { finishWrite } from "./stages/finish";
// Parts that have a slow twin in the tests.
export { lookup } from "./tables/route";
export { prepareReceive, sendFailed, writeFailed } from "./vectors";
export { fold, sum } from "./wire/checksum";

/** The yardstick of the benchmarks. */
export function copy(to: usize, from: usize, length: usize): void {
  memory.copy(to, from, length);
}
