import { readFileSync } from "node:fs";

/** /proc counts hundredths of a second on every Linux that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** Index of `utime` behind the name, followed by `stime`: proc_pid_stat(5). */
const UTIME = 11;

/** CPU seconds of the whole machine since it booted, interrupts included. */
export function busySeconds(): number {
  const [, ...ticks] = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!.split(/\s+/);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = ticks.map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/**
 * CPU seconds of a process since it began, of all its threads, including its system calls. The fields of
 * /proc/PID/stat are counted from behind its name, which may contain blanks.
 */
export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const afterName = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = afterName.slice(UTIME, UTIME + 2).map(Number);
  return (user! + system!) / TICKS_PER_SECOND;
}
