import { existsSync } from "node:fs";

/** Why this machine cannot be several hosts, or undefined when it can. */
export function whyNoLab(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun is missing";
  return undefined;
}
