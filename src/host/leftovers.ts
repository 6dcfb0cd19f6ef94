/**
 * Removes what a killed agent leaves behind, its control socket. Its device ends with the process,
 * and addresses and routes with it. The unreachable routes stay on purpose (unreachable.ts). The lock
 * is the kernel's, and its file is used again.
 */
import type { Config } from "../config/config.js";
import { clearSocket } from "./socket.js";

/** @returns one sentence for each thing that was removed */
export async function removeLeftovers({ socket }: Pick<Config, "socket">): Promise<string[]> {
  return (await clearSocket(socket)) ? [`removed ${socket}, left by an agent that is gone`] : [];
}
