/** `npm run sim`: one simulated cluster. Progress on stderr, then one line of JSON on stdout. */
import { WeftError } from "../error.js";
import { HELP, readOptions } from "./options.js";
import { type SimulationOptions, simulate } from "./simulate.js";

try {
  const options = readOptions(process.argv.slice(2));
  if (options) await run(options);
  else console.log(HELP);
} catch (error) {
  console.error(error instanceof WeftError ? `${error.message}: ${error.remedy}` : error);
  process.exitCode = 2;
}

async function run(options: SimulationOptions): Promise<void> {
  const began = process.cpuUsage();
  const result = await simulate(options, (line) => console.error(line));
  const { user, system } = process.cpuUsage(began);
  const cpuSeconds = (user + system) / 1e6;
  const timesRealTime = Math.round(result.simulatedSeconds / cpuSeconds);
  const memoryMb = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(JSON.stringify({ ...options, ...result, cpuSeconds, timesRealTime, memoryMb }));
  process.exitCode = result.converged && result.doubleLeases + result.falseDeaths === 0 ? 0 : 1;
}
