/** The signals that the agent handles. docs/command.md#signals has the table. */

/** They end the agent in order. */
const STOPPING = ["SIGTERM", "SIGINT", "SIGQUIT"] as const;
/** Without a listener SIGUSR1 opens Node's debugger, and SIGUSR2 kills. */
const MEANINGLESS = ["SIGUSR1", "SIGUSR2"] as const;

interface Listeners {
  readonly isTerminalClosed: () => boolean;
  readonly reload: () => void;
  /** A signal that means nothing to the agent. */
  readonly meaningless: (signal: NodeJS.Signals) => void;
}

/** @returns why the agent shall stop, once it shall */
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
