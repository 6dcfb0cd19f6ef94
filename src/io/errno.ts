/** Errors of system calls, by name. */
import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";

export const { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS } = constants.errno;
export const { ENOENT, ENODEV, ENXIO, EACCES, EPERM, EBUSY } = constants.errno;
export const { EADDRINUSE, EADDRNOTAVAIL } = constants.errno;
/** "File descriptor in bad state": errno of a TUN descriptor whose device was removed. */
export const EBADFD = 77;

/** A failed system call for which there is no more specific error. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** As in Node's errors: `EADDRINUSE`. */
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
