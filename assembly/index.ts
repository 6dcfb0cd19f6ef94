/** What the host may call, and the map of the memory it shares with the core. */
export { inbound, outbound } from "./pipeline";
export { begin, settle } from "./batch";
export { prepareReceive, sendFailed, writeFailed } from "./vectors";
export { finishWrite } from "./stages/finish";
export * from "./memory";
export * from "./reason";

// Parts that have a slow twin in the tests.
export { lookup } from "./tables/route";
export { fold, sum } from "./wire/checksum";
