/**
 * What an agent leaves when it is killed: its control socket. Its device is
 * closed with the process and takes address and routes along; the unreachable routes of a higher
 * metric stay on purpose (unreachable.ts); the lock is the kernel's, and its file is taken over.
 */
import type { Config } from "../config/config.js";
import { clearSocket } from "./socket.js";

/** @returns what was mended: one sentence each */
export async function removeLeftovers({ socket }: Pick<Config, "socket">): Promise<string[]> {
  return (await clearSocket(socket)) ? [`removed ${socket}, left by an agent that is gone`] : [];
}
