import { existsSync } from "node:fs";

/** The reason why this machine cannot run a lab; undefined when it can. */
export function whyNoLab(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun is missing";
  return undefined;
}
