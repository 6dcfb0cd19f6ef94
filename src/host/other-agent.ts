/** Finds other agents on this host in /proc. Files that may not be read count as empty. */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { readRegularFile } from "../files/regular-file.js";
import { close, connect, getsockopt } from "../io/libc.js";
import { openUnix, unixAddress } from "../io/unix.js";
import { SO_PEERCRED, SOL_SOCKET } from "../linux.js";

export interface OtherAgent {
  readonly pid: number;
  /** Its node name. */
  readonly name?: string;
}

/** The text that an agent writes into the lock file of its state directory. */
export const lockText = ({ pid, name }: OtherAgent): string => `${pid} ${name}\n`;
const LOCK_TEXT = /^(\d+)(?: ([a-z0-9-]+))?\n$/;
/** Bytes that are read of a file of /proc or of a lock file. */
const MAX_TEXT = 4096;

/** An agent as text for operators: `pid 12, h1`. */
export const inWords = ({ pid, name }: OtherAgent): string =>
  name === undefined ? `pid ${pid}` : `pid ${pid}, ${name}`;

export function readLock(text: string): OtherAgent | undefined {
  const [, pid, name] = LOCK_TEXT.exec(text) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), ...(name && { name }) };
}

/** The process that listens on a Unix socket, whether it answers or not. */
export function listenerAt(path: string): OtherAgent | undefined {
  const pid = pidOfListener(path);
  return pid === undefined ? undefined : agentOf(pid);
}

/** The process of this network namespace that holds a TUN device. */
export function holderOfDevice(device: string): OtherAgent | undefined {
  const own = linkAt("/proc/self/ns/net");
  for (const entry of entriesOf("/proc")) {
    if (!/^\d+$/.test(entry) || linkAt(`/proc/${entry}/ns/net`) !== own) continue;
    const directory = `/proc/${entry}/fdinfo`;
    const holds = entriesOf(directory).some((fd) =>
      textOf(join(directory, fd)).includes(`\niff:\t${device}\n`),
    );
    if (holds) return agentOf(Number(entry));
  }
  return undefined;
}

/** Whether a signal has stopped its process (proc_pid_stat(5)). */
export const isSuspended = ({ pid }: OtherAgent): boolean =>
  /^\d+ \(.*\) [Tt] /s.test(textOf(`/proc/${pid}/stat`));

/** The agent of a process, with the name in the lock file that the process has open. */
function agentOf(pid: number): OtherAgent {
  const directory = `/proc/${pid}/fd`;
  const files = entriesOf(directory)
    .map((fd) => join(directory, fd))
    .filter((fd) => linkAt(fd)?.endsWith("/lock"));
  const agent = files.map((fd) => readLock(textOf(fd))).find((it) => it?.pid === pid);
  return agent ?? { pid };
}

/** The pid of the process that called listen(2) on a socket (SO_PEERCRED, unix(7)). */
function pidOfListener(path: string): number | undefined {
  const fd = openUnix();
  const address = unixAddress(path);
  // struct ucred: pid, uid, gid
  const credentials = new Int32Array(3);
  const size = Uint32Array.of(credentials.byteLength);
  const isKnown =
    connect(fd, address, address.length) === 0 &&
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, size) === 0;
  close(fd);
  const [pid = 0] = credentials;
  return isKnown && pid > 0 ? pid : undefined;
}

const entriesOf = (directory: string): string[] => attempt(() => readdirSync(directory)) ?? [];

const linkAt = (path: string): string | undefined => attempt(() => readlinkSync(path));

const textOf = (path: string): string =>
  attempt(() => readRegularFile(path, MAX_TEXT).bytes.toString()) ?? "";

/** The result of a look into /proc; undefined when the process has ended or may not be read. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
