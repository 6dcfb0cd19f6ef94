/** Unix stream sockets (unix(7)). */
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../linux.js";
import { bind, check, close, socket } from "./libc.js";

/** Removes from mode 0777 what mode 0660 does not have. */
const SOCKET_UMASK = 0o117;

export const openUnix = (): number =>
  socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

/** struct sockaddr_un */
export const unixAddress = (path: string): Buffer =>
  Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(`${path}\0`)]);

/**
 * Makes a socket of mode 0660 at a free path. Node's own `listen` removes whatever is at the path when
 * it closes, also a file of another process.
 * @returns its descriptor
 */
export function bindUnix(path: string): number {
  const fd = check(openUnix(), "socket");
  const address = unixAddress(path);
  // The umask applies at bind, so the socket is never open to others.
  const before = process.umask(SOCKET_UMASK);
  try {
    check(bind(fd, address, address.length), "bind");
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  } finally {
    process.umask(before);
  }
}
