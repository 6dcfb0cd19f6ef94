/** Watches the interfaces of this host with `ip monitor link`. */
import { type ChildProcess, spawn } from "node:child_process";

/**
 * Reports soon after an interface came, went or changed. The monitor may end at any time; the next
 * call of `keep` starts it again.
 */
export class LinkWatch {
  readonly #changed: () => void;
  #monitor: ChildProcess | undefined;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Starts the monitor if none runs. */
  keep(): void {
    if (this.#monitor) return;
    const monitor = spawn("ip", ["-o", "monitor", "link"], {
      // This process's environment is not passed on, since it may hold the cluster secret.
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#monitor = monitor;
    const ended = () => {
      if (this.#monitor === monitor) this.#monitor = undefined;
    };
    monitor.on("error", ended).on("exit", ended);
    monitor.stdout.on("data", () => this.#changed());
  }

  stop(): void {
    const monitor = this.#monitor;
    this.#monitor = undefined;
    monitor?.kill();
  }
}
