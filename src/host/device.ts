/** The overlay device, after somebody removed it, renamed it, or moved it to another network namespace. */
import { WeftError } from "../error.js";
import { change } from "./ip.js";
import { deviceExists } from "./link.js";

export interface OwnDevice {
  /** The name that it has now; nothing if it was removed. */
  deviceName(): string | undefined;
  /** Makes it again. */
  renewDevice(): Promise<void>;
}

/**
 * Gives this agent its device back, under its name.
 * @returns what was mended, as a sentence
 * @throws WeftError when another device has the name: that one is left alone
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
      `the device of this agent was renamed to ${present}, and another one is named ${name}`,
      `rename or remove that one (ip link delete ${name}), or choose another name with --tun`,
    );
  }
  await rename(present, name);
  return `the device ${present} has its name ${name} again`;
}

/** Before Linux 6.2 a device that is up keeps its name. */
async function rename(from: string, to: string): Promise<void> {
  try {
    await change([`link set dev ${from} name ${to}`]);
  } catch {
    await change([`link set dev ${from} down`, `link set dev ${from} name ${to}`]);
  }
}
