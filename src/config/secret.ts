/** The cluster secret: from a file only its owner can read, or from the environment. */
import { printable } from "../address.js";
import { bad } from "./read.js";
import { type RegularFile, readRegularFile, whyUnreadable } from "./regular-file.js";

export const MIN_SECRET = 16;
/** One in use, one on its way in, one on its way out, and some to spare. */
const MAX_SECRETS = 8;
const MAX_SECRET_FILE = 64 * 1024;
/** Control characters other than the tab, and the replacement character of invalid UTF-8. */
const NOT_TEXT = /[^\P{Cc}\t]|\ufffd/u;

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
  if (secrets.some((secret) => NOT_TEXT.test(secret))) {
    throw bad(`${where} holds a secret that is not text`, "make one with: openssl rand -base64 32");
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
  const { text, stats } = open(file, where);
  const name = `${where}: ${printable(file)}`;
  if ((stats.mode & 0o077) !== 0) {
    throw bad(`${name} can be read by others than its owner`, `run: chmod 600 ${printable(file)}`);
  }
  if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
    throw bad(
      `${name} belongs to user ${stats.uid}, who can change it`,
      `run: chown ${process.geteuid?.()} ${printable(file)}`,
    );
  }
  return text;
}

function open(file: string, where: string): RegularFile {
  try {
    return readRegularFile(file, MAX_SECRET_FILE);
  } catch (error) {
    throw bad(
      `${where}: ${printable(file)} ${whyUnreadable(error, MAX_SECRET_FILE)}`,
      "give the path of a readable file with the cluster secret, one a line",
    );
  }
}
