/** Unix stream sockets, as unix(7) has them. */
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../linux.js";
import { bind, check, close, socket } from "./libc.js";

/** The bits that mode 0660 leaves out: everything for others, and execution. */
const SOCKET_UMASK = 0o117;

export const openUnix = (): number =>
  socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

/** struct sockaddr_un */
export const unixAddress = (path: string): Buffer =>
  Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(`${path}\0`)]);

/**
 * Makes a socket of mode 0660 at a path where nothing is. Node's own `listen` would remove whatever
 * is at that path when it closes, also what another process put there.
 * @returns its descriptor
 */
export function bindUnix(path: string): number {
  const fd = check(openUnix(), "socket");
  const address = unixAddress(path);
  // With the umask set, it is never open to others.
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
