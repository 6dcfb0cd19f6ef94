import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Host } from "../../src/lab/namespace.js";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Sends seeded bytes over one TCP connection; both ends must have seen the same SHA-256. */
export async function transfer(
  from: Host,
  to: Host,
  address: string,
  bytes: number,
): Promise<void> {
  const seed = process.env.WEFT_SEED ?? String(Date.now());
  console.log(`WEFT_SEED=${seed}`);
  const { sent, got } = await carry(here("transfer.mjs"), from, to, address, [`${bytes}`, seed]);
  expect(got).toBe(sent);
}

/** Sends UDP datagrams, small, large, fragmented and in GSO batches; those that arrive must be right. */
export async function datagrams(from: Host, to: Host, address: string): Promise<void> {
  const { sent, got } = await carry(here("datagrams.mjs"), from, to, address, []);
  const { received, wrong } = JSON.parse(got);
  expect(wrong).toBe(0);
  // UDP may lose some where many share a CPU; twice as many would be no loss
  expect(received).toBeGreaterThan(Number(sent) / 2);
  expect(received).toBeLessThanOrEqual(Number(sent));
}

const LIMIT_MS = 60_000;

/** Runs the two halves of a program; gives the last line of each. */
async function carry(program: string, from: Host, to: Host, address: string, more: string[]) {
  const receiver = to.spawn([process.execPath, program, "receive", address]);
  try {
    await receiver.waitForOutput(/listening/);
    const argv = [process.execPath, program, "send", address, ...more];
    const sent = await from.exec(argv, { limitMs: LIMIT_MS });
    const { stdout } = await receiver.finish(LIMIT_MS);
    return { sent: sent.trim(), got: stdout.trim().split("\n").at(-1) ?? "" };
  } finally {
    await receiver.stop("SIGKILL");
  }
}
