/** The machine of a measurement, without which a number says nothing. */
import { cpus, loadavg, release } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  /** Load average of the minute before the run, by other work on this machine. */
  readonly load: number;
}

export function machine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    kernel: release(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

export const describeMachine = ({ cpu, cores, kernel, node, load }: Machine): string =>
  `${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, load before the run ${load.toFixed(1)}`;
