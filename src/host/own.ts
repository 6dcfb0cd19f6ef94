/**
 * Files and directories that only this process's user may change. The agent runs as root: if
 * another user could put a symbolic link, a hard link or a renamed directory in the place of one of
 * its files, that user would choose which file of the host is written.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  type Stats,
} from "node:fs";
import { isAbsolute, join, resolve } from "node:path";

const GROUP_AND_OTHERS_WRITE = 0o022;
/** The sticky bit: only the owner of a file in the directory may rename or remove it (chmod(1)). */
const STICKY = 0o1000;

const isOurs = ({ uid }: Stats): boolean => uid === 0 || uid === process.geteuid?.();

/**
 * Opens a file for writing, creates it if there is none, and keeps its contents.
 * @param flags further flags of open(2)
 * @throws an error that says why, if it is a link, has another name, or belongs to another user
 */
export function openOwn(path: string, mode: number, flags: number): number {
  const fd = openSync(
    path,
    flags | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NOCTTY,
    mode,
  );
  const stats = fstatSync(fd);
  const why = !isOurs(stats)
    ? `${path} belongs to user ${stats.uid}`
    : stats.isFile() && stats.nlink > 1
      ? `${path} is one of several names of a file`
      : undefined;
  if (why === undefined) return fd;
  closeSync(fd);
  throw new Error(why);
}

/**
 * The reason why other users could put files into this directory, or another directory in its
 * place; undefined when only this process's user can.
 * @param mayShare whether other users may have files in it too, if it is sticky, as /tmp is
 */
export function whyNotOwn(path: string, { mayShare }: { mayShare: boolean }): string | undefined {
  const real = realpathSync(path);
  for (const step of stepsTo(path)) {
    const stats = lstatSync(step);
    if (!isOurs(stats)) return `${step} belongs to user ${stats.uid}`;
    const isShared = stats.isDirectory() && (stats.mode & GROUP_AND_OTHERS_WRITE) !== 0;
    const isSafe = (stats.mode & STICKY) !== 0 && (mayShare || step !== real);
    if (isShared && !isSafe) return `${step} can be written by others than its owner`;
  }
  return undefined;
}

/**
 * Whether a path leads to this file. False also when it leads nowhere, because a directory in it
 * was replaced by something else or may not be searched.
 */
export function leadsTo(path: string, { ino, dev }: Stats): boolean {
  try {
    const found = lstatSync(path);
    return found.ino === ino && found.dev === dev;
  } catch {
    return false;
  }
}

/**
 * Yields every directory and symbolic link that an existing path passes, from the root on, and the
 * path itself.
 */
function* stepsTo(path: string): Generator<string> {
  const names = namesIn(resolve(path));
  let at = "/";
  yield at;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const next = join(at, name);
    yield next;
    const target = lstatSync(next).isSymbolicLink() ? readlinkSync(next) : undefined;
    if (target === undefined) at = next;
    else if (isAbsolute(target)) at = "/";
    names.unshift(...namesIn(target ?? ""));
  }
}

const namesIn = (path: string): string[] => path.split("/").filter((name) => name !== "");
