import { execFileSync } from "node:child_process";
import koffi from "koffi";
import { describe, it } from "vitest";
import { whyNoLab } from "../../src/lab/requirements.js";

const CLONE_NEWNET = 0x40000000;

/**
 * Tests that make devices and sockets in this very process, moved into a network
 * namespace of its own. Each test file is a process, and the namespace ends with it.
 */
export function inOwnNetwork(name: string, tests: () => void): void {
  const why = whyNoLab();
  if (why !== undefined) {
    describe(name, () => it("in a network namespace", ({ skip }) => skip(why)));
    return;
  }
  if (koffi.load("libc.so.6").func("int unshare(int)")(CLONE_NEWNET) !== 0) {
    throw new Error(`no network namespace: errno ${koffi.errno()}`);
  }
  ip("link", "set", "lo", "up");
  describe(name, tests);
}

/** Runs `ip` in this network; gives what it wrote. */
export const ip = (...args: string[]): string =>
  execFileSync("ip", args, { encoding: "utf8", stdio: "pipe" });
