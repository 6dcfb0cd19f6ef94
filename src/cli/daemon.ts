/**
 * Protects the agent, which runs as root, from settings that Node, the shell or the terminal inherit.
 * docs/command.md#signals has the table of signals.
 */
import { openSync } from "node:fs";
import { url as debuggerUrl } from "node:inspector";
import { constants } from "node:os";
import { isatty } from "node:tty";
import { WeftError } from "../error.js";
import { dup2, exitNow, prctl, signal } from "../io/libc.js";

/** Variables that make Node run other code, open a port, write files, or print what it processes. */
const REFUSED_VARIABLES = [
  "NODE_OPTIONS",
  "NODE_PATH",
  "NODE_COMPILE_CACHE",
  "NODE_V8_COVERAGE",
  "NODE_REDIRECT_WARNINGS",
  "NODE_DEBUG",
  "NODE_DEBUG_NATIVE",
] as const;

/** Directories of the agent have the documented modes, whatever umask the shell has. */
const UMASK = 0o022;
/** <linux/prctl.h> */
const PR_SET_DUMPABLE = 4;
/** <signal.h> */
const SIG_IGN = 1;

/** @throws WeftError USAGE if the environment contains settings for Node */
export function refuseNodeSettings(env: NodeJS.ProcessEnv): void {
  const given = REFUSED_VARIABLES.filter((name) => env[name]);
  if (given.length > 0) {
    const unset = given.map((name) => `-u ${name}`).join(" ");
    throw new WeftError(
      "USAGE",
      `${given.join(", ")} changes what Node does, and the agent runs with the rights of root`,
      `start it with: env ${unset} weft up ...; flags for Node go on its own command line`,
    );
  }
  const url = debuggerUrl();
  if (url === undefined || process.execArgv.some((flag) => flag.startsWith("--inspect"))) return;
  throw new WeftError(
    "USAGE",
    `Node's debugger listens on ${url}, where every user of this host can run code as this one`,
    "start it again, and send no SIGUSR1 while it starts",
  );
}

/** Overrides inherited settings and defaults of Node. */
export function hardenProcess(): void {
  process.umask(UMASK);
  // A core dump would contain the secrets.
  prctl(PR_SET_DUMPABLE, 0);
  // With `stty tostop`, a line of the log would suspend an agent in the background.
  signal(constants.signals.SIGTTOU, SIG_IGN);
}

/**
 * The process then ends although lookups still run: Node waits for their threads, which a name
 * service that does not answer holds for half a minute. Other listeners of "exit" come first.
 */
export function abandonLookups(): void {
  process.on("exit", (code) => exitNow(code));
}

/** The terminals among stdin, stdout and stderr. */
export class Terminals {
  readonly #fds = [0, 1, 2].filter((fd) => isatty(fd));

  /** Whether one of them was closed. */
  areClosed(): boolean {
    return this.#fds.some((fd) => !isatty(fd));
  }

  /** Releases closed ones: Node restores terminals at exit, and aborts at a closed one. */
  release(): void {
    if (!this.areClosed()) return;
    const nothing = openSync("/dev/null", "r+");
    for (const fd of this.#fds) dup2(nothing, fd);
  }
}
