/** The network state of a host, to compare before and after. */
import type { Host } from "../../src/lab/namespace.js";

const CARRIER = /NO-CARRIER,|,LOWER_UP|\bstate (UP|DOWN|UNKNOWN) |\b(dead )?linkdown\b/g;
/** Routes that the kernel adds for IPv6 once it has noticed that a device is up. */
const OF_CARRIER = /multicast ff00::\/8|^local \S*:\S* dev \S+ table local proto kernel/;

/**
 * Links, addresses, routes of all tables and rules. Left out are the indexes of devices, which differ
 * for each device that is created, and the carrier with what follows from it: Linux notices it in the
 * background.
 */
export async function hostState(host: Host): Promise<string[]> {
  const input = ["link", "address", "route show table all", "rule"].join("\n");
  const shown = await Promise.all(
    [4, 6].map((family) =>
      host.exec(["ip", `-${family}`, "-details", "-o", "-batch", "-"], { input }),
    ),
  );
  const lines = shown.join("").trim().split("\n");
  const unnumbered = lines.map((line) =>
    line
      .replace(/^\d+: /, "")
      .replace(CARRIER, "")
      .trim(),
  );
  return unnumbered.filter((line) => !OF_CARRIER.test(line)).sort();
}
