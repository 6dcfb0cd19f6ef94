/** Checks whether this host can carry an IPv6 overlay. */
import { existsSync, readFileSync } from "node:fs";
import { formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";

/** The IPv6 settings of all devices; absent when the kernel was started without IPv6. */
const IPV6_SETTINGS = "/proc/sys/net/ipv6/conf";
/** The smallest MTU of a link with IPv6 (RFC 8200, section 5), in bytes. */
export const LEAST_MTU = 1280;

/**
 * @param mtu the MTU of the overlay, in bytes
 * @param device the overlay device, whose settings are read
 * @throws WeftError IPV6 or MTU, if the network has an IPv6 prefix and the host cannot carry it
 */
export function checkIpv6(network: readonly Prefix[], mtu: number, device: string): void {
  const prefix = network.find(({ family }) => family === 6);
  if (!prefix) return;
  const has = `the cluster network has ${formatPrefix(prefix)}`;
  if (!hasIpv6()) {
    throw new WeftError(
      "IPV6",
      `${has}, and the kernel of this host runs without IPv6`,
      "start the host without ipv6.disable=1, or found the cluster on an IPv4 network",
    );
  }
  if (mtu < LEAST_MTU) {
    throw new WeftError(
      "MTU",
      `${has}, and an overlay MTU of ${mtu} is less than the ${LEAST_MTU} that IPv6 needs`,
      `raise the MTU of the underlay by ${LEAST_MTU - mtu} bytes, or found the cluster on an IPv4 network`,
    );
  }
  const setting = `${IPV6_SETTINGS}/${device}/disable_ipv6`;
  if (readSetting(setting) !== "0") {
    throw new WeftError(
      "IPV6",
      `${has}, and IPv6 is switched off on this host or on ${device}`,
      `switch it on with: sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.${device}.disable_ipv6=0`,
    );
  }
}

/** Whether the kernel of this host runs with IPv6. */
export const hasIpv6 = (): boolean => existsSync(IPV6_SETTINGS);

/** The value of a setting; undefined for a device without IPv6, which has none. */
function readSetting(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
