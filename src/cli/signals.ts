/** The signals that the agent handles. docs/command.md#signals has the table. */

/** Signals that stop the agent in order. */
const STOPPING = ["SIGTERM", "SIGINT", "SIGQUIT"] as const;
/** Ignored signals. Without a listener SIGUSR1 opens Node's debugger, and SIGUSR2 kills. */
const MEANINGLESS = ["SIGUSR1", "SIGUSR2"] as const;

interface Listeners {
  readonly isTerminalClosed: () => boolean;
  readonly reload: () => void;
  /** Called for an ignored signal. */
  readonly meaningless: (signal: NodeJS.Signals) => void;
}

/** @returns the reason to stop, once there is one */
export function onSignals({ isTerminalClosed, reload, meaningless }: Listeners): Promise<string> {
  for (const signal of MEANINGLESS) process.on(signal, () => meaningless(signal));
  return new Promise((resolve) => {
    for (const signal of STOPPING) process.once(signal, resolve);
    process.on("SIGHUP", () => {
      if (isTerminalClosed()) resolve("SIGHUP: the terminal is closed");
      else reload();
    });
  });
}
