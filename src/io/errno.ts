/** Why a system call failed, by name. */
import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";

export const { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS } = constants.errno;
export const { ENOENT, ENODEV, ENXIO, EACCES, EPERM, EBUSY } = constants.errno;
export const { EADDRINUSE, EADDRNOTAVAIL } = constants.errno;
/** "File descriptor in bad state": a TUN descriptor whose device was removed. */
export const EBADFD = 77;

/** A system call that failed where we know no better answer than to say so. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** As in Node's own errors: `EADDRINUSE`. */
  readonly code: string;

  constructor(
    call: string,
    readonly errno: number,
  ) {
    const [name, meaning] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, "unknown"];
    super(`${call}: ${name} (${meaning})`);
    this.code = name;
  }
}
