/** Servers and clients of `whoami.mjs`: which address a server sees. */
import { fileURLToPath } from "node:url";
import type { Finished, RunningProgram } from "../../src/lab/running.js";

const PROGRAM = fileURLToPath(new URL("whoami.mjs", import.meta.url));

/** A host or a workload. */
interface Place {
  spawn(argv: readonly string[]): RunningProgram;
  run(argv: readonly string[]): Promise<Finished>;
}
export type Transport = "tcp" | "udp";

/** Starts a server that answers with its name and the client's address, at one local address or at all. */
export async function serve(
  place: Place,
  protocol: Transport,
  port: number,
  name: string,
  ...local: string[]
): Promise<RunningProgram> {
  const server = place.spawn([
    process.execPath,
    PROGRAM,
    "serve",
    protocol,
    `${port}`,
    name,
    ...local,
  ]);
  await server.waitForOutput(/ready/, 10_000);
  return server;
}

/** The answer, like `web sees 192.0.2.2 40000`; otherwise an error code, or nothing after 3 s. */
export async function ask(
  place: Place,
  protocol: Transport,
  address: string,
  port: number,
): Promise<string> {
  const { stdout } = await place.run([
    process.execPath,
    PROGRAM,
    "ask",
    protocol,
    address,
    `${port}`,
  ]);
  return stdout.trim();
}

/** The answer without the client's port. */
export const seen = async (...question: Parameters<typeof ask>): Promise<string> =>
  (await ask(...question)).replace(/ \d+$/, "");
