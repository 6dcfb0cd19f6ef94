/** Recovers the overlay device after it was removed, renamed, or moved to another network namespace. */
import { WeftError } from "../error.js";
import { change } from "./ip.js";
import { deviceExists } from "./link.js";

export interface OwnDevice {
  /** The name that it has now; undefined if it was removed. */
  deviceName(): string | undefined;
  /** Creates it again. */
  renewDevice(): Promise<void>;
}

/**
 * Creates the agent's device again, or renames it back.
 * @returns a sentence about the repair; undefined if none was needed
 * @throws WeftError when another device has the name; that device is not changed
 */
export async function recoverDevice(own: OwnDevice, name: string): Promise<string | undefined> {
  const present = own.deviceName();
  if (present === undefined || !(await deviceExists(present))) {
    await own.renewDevice();
    return `the device ${name} was removed, and is made again`;
  }
  if (present === name) return undefined;
  if (await deviceExists(name)) {
    throw new WeftError(
      "DEVICE",
      `the device of this agent was renamed to ${present}, and another device is named ${name}`,
      `rename or remove the other one (ip link delete ${name}), or choose another name with --tun`,
    );
  }
  await rename(present, name);
  return `the device ${present} has its name ${name} again`;
}

/** Renames a device. Before Linux 6.2 it must be down for that. */
async function rename(from: string, to: string): Promise<void> {
  try {
    await change([`link set dev ${from} name ${to}`]);
  } catch {
    await change([`link set dev ${from} down`, `link set dev ${from} name ${to}`]);
  }
}
