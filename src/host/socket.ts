/** The place of the control socket: cleared, or refused because someone is there. */
import { existsSync, lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { WeftError } from "../error.js";

/**
 * Takes away the socket of an agent that is gone.
 * @returns true when one was taken away
 * @throws WeftError SOCKET when an agent answers on it, or it is no socket
 */
export async function clearSocket(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  if (!lstatSync(path).isSocket()) {
    throw new WeftError(
      "SOCKET",
      `${path} exists and is not a socket`,
      "choose another path with --socket",
    );
  }
  if (await answers(path)) {
    throw new WeftError(
      "SOCKET",
      `another agent answers on ${path}`,
      "stop it, or choose another path with --socket",
    );
  }
  unlinkSync(path);
  return true;
}

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
