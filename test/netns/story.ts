import { describe, it } from "vitest";
import { whyNoLab } from "../../src/lab/requirements.js";

/**
 * Tests told on real hosts. Without root or /dev/net/tun there are none: the
 * story is then skipped with that reason, which the last lines of the run name.
 * With both, whatever goes wrong is a failure.
 */
export function story(name: string, tests: () => void): void {
  const why = whyNoLab();
  if (why === undefined) describe(name, tests);
  else describe(name, () => it("on real hosts", ({ skip }) => skip(why)));
}
