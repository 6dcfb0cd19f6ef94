#!/usr/bin/env node
/**
 * `npm run demo` runs an overlay of three hosts and three agents on this machine.
 *
 * With root and /dev/net/tun the hosts are network namespaces and everything is real; otherwise, or
 * with --rootless, three nodes run in this process.
 */
import { onHosts } from "./demo/hosts.js";
import { progress } from "./demo/progress.js";
import { rootless } from "./demo/rootless.js";
import { whyNoLab } from "./lab/requirements.js";

const asked = process.argv.includes("--rootless");
const why = whyNoLab();
if (!asked && why !== undefined)
  progress("rootless", `${why}: no real hosts here, so all in one process`);

try {
  await (asked || why !== undefined ? rootless() : onHosts());
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
