/** The cluster secret: from a file only its owner can read, or from the environment. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { printable } from "../address.js";
import { bad } from "./read.js";

export const MIN_SECRET = 16;
/** One in use, one on its way in, one on its way out, and some to spare. */
const MAX_SECRETS = 8;
const MAX_SECRET_FILE = 64 * 1024;

/** @param where how the file was named, for messages */
export function secretsFromFile(file: string, where: string): string[] {
  return split(readPrivately(file, where), `${where}: ${printable(file)}`);
}

/** One secret a line; the first is the one we offer, the others are accepted as well. */
export function split(text: string, where: string): string[] {
  const secrets = text.split(/\r?\n/).filter((line) => line !== "");
  if (secrets.length === 0) {
    throw bad(`${where} holds no secret`, "make one with: openssl rand -base64 32");
  }
  if (secrets.length > MAX_SECRETS) {
    throw bad(`${where} holds more than ${MAX_SECRETS} secrets`, "remove the ones no longer used");
  }
  if (secrets.some((secret) => secret.trim().length < MIN_SECRET)) {
    throw bad(
      `${where} holds a secret shorter than ${MIN_SECRET} characters`,
      "make one with: openssl rand -base64 32",
    );
  }
  return secrets;
}

function readPrivately(file: string, where: string): string {
  const fd = open(file, where);
  try {
    const { mode, size } = fstatSync(fd);
    if ((mode & 0o170000) !== 0o100000 || size > MAX_SECRET_FILE) {
      throw bad(`${where}: ${printable(file)} is not a file of secrets`, "give one secret a line");
    }
    if ((mode & 0o077) !== 0) {
      throw bad(
        `${where}: ${printable(file)} can be read by others than its owner`,
        `run: chmod 600 ${printable(file)}`,
      );
    }
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

function open(file: string, where: string): number {
  try {
    // Without O_NONBLOCK a FIFO of that name would hold us here for ever.
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw bad(
      `${where}: ${printable(file)} ${missing ? "does not exist" : "cannot be opened"}`,
      "give the path of a readable file with the cluster secret",
    );
  }
}
