/** The network state of a host, to compare before and after. */
import type { Host } from "../../src/lab/namespace.js";

/**
 * Links, addresses, routes of all tables and rules. Left out are the indexes of devices, which differ
 * for each device that is created, and the kernel's multicast routes, which depend on whether a device
 * was up when it got its address.
 */
export async function hostState(host: Host): Promise<string[]> {
  const input = ["link", "address", "route show table all", "rule"].join("\n");
  const shown = await Promise.all(
    [4, 6].map((family) =>
      host.exec(["ip", `-${family}`, "-details", "-o", "-batch", "-"], { input }),
    ),
  );
  const lines = shown.join("").trim().split("\n");
  const unnumbered = lines.map((line) => line.replace(/^\d+: /, "").trim());
  return unnumbered.filter((line) => !line.includes("multicast ff00::/8")).sort();
}
