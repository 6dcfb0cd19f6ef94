/** The file of the control socket. A leftover file is removed; a socket in use is an error. */
import { lstatSync, type Stats, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { WeftError } from "../error.js";
import { inWords, listenerAt } from "./other-agent.js";
import { leadsTo, whyNotOwn } from "./own.js";

/** The file of a socket, which other processes may remove or replace. */
export class SocketFile {
  readonly #made: Stats;
  readonly #path: string;

  /** @param path the path of an existing socket */
  constructor(path: string) {
    this.#path = path;
    this.#made = lstatSync(path);
  }

  isInPlace(): boolean {
    return leadsTo(this.#path, this.#made);
  }

  /** Removes the file, unless another process has replaced it. */
  remove(): void {
    if (this.isInPlace()) unlinkSync(this.#path);
  }
}

/**
 * Removes the socket of an agent that has ended.
 * @returns whether there was one
 * @throws WeftError SOCKET when an agent listens on it, or the file is not a socket
 */
export async function clearSocket(path: string): Promise<boolean> {
  const found = look(path);
  if (!found) return false;
  if (!found.isSocket()) {
    throw new WeftError(
      "SOCKET",
      `${path} exists and is not a socket`,
      "remove it, or choose another path with --socket",
    );
  }
  if (await answers(path)) {
    const agent = listenerAt(path);
    throw new WeftError(
      "SOCKET",
      `another agent${agent ? ` (${inWords(agent)})` : ""} listens on the control socket ${path}`,
      "stop it, or choose another path with --socket",
    );
  }
  if (found.uid !== 0 && found.uid !== process.geteuid?.()) {
    throw new WeftError(
      "SOCKET",
      `the socket ${path} belongs to user ${found.uid}`,
      "remove it, or choose a path with --socket where only root has files",
    );
  }
  try {
    const why = whyNotOwn(dirname(path), { mayShare: true });
    if (why !== undefined) throw new Error(why);
    unlinkSync(path);
    return true;
  } catch (error) {
    throw new WeftError(
      "SOCKET",
      `the socket ${path} of an agent that has ended cannot be removed: ${(error as Error).message}`,
      "choose a path with --socket where only root has files",
    );
  }
}

function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new WeftError(
      "SOCKET",
      `the control socket cannot be ${path} (${(error as NodeJS.ErrnoException).code})`,
      "choose another path with --socket, like /run/weft/weft.sock",
    );
  }
}

/** Whether a process listens. Only ECONNREFUSED means none; an agent too busy to accept causes EAGAIN. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED"));
  });
