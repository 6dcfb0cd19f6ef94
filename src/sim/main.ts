/**
 * `npm run sim -- --nodes N --loss P --seed S --minutes M --chaos partitions,crashes,skew`:
 * one simulated cluster. Progress on stderr, then one line of JSON on stdout.
 */
import { WeftError } from "../error.js";
import { readOptions } from "./options.js";
import { simulate } from "./simulate.js";

try {
  const options = readOptions(process.argv.slice(2));
  const began = process.cpuUsage();
  const result = await simulate(options, (line) => console.error(line));
  const { user, system } = process.cpuUsage(began);
  const cpuSeconds = (user + system) / 1e6;
  const timesRealTime = Math.round(result.simulatedSeconds / cpuSeconds);
  const heapMb = Math.round(process.memoryUsage().heapUsed / 2 ** 20);
  console.log(JSON.stringify({ ...options, ...result, cpuSeconds, timesRealTime, heapMb }));
  process.exitCode = result.converged && result.doubleLeases === 0 ? 0 : 1;
} catch (error) {
  console.error(error instanceof WeftError ? `${error.message}: ${error.remedy}` : error);
  process.exitCode = 2;
}
