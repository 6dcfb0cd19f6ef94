/** The cluster secret, from a file that only its owner can read, or from the environment. */
import { printable } from "../address.js";
import { type RegularFile, readRegularFile, whyUnreadable } from "../files/regular-file.js";
import { bad } from "./read.js";

export const MIN_SECRET = 16;
/** Most secrets: one in use, one being introduced, one being retired, and spares. */
const MAX_SECRETS = 8;
const MAX_SECRET_FILE = 64 * 1024;
/** Control characters, and the replacement character of invalid UTF-8. */
const NOT_TEXT = /\p{Cc}|\ufffd/u;
/** Format characters, such as the zero width space, and blanks other than the ASCII one. */
const UNSEEN = /\p{Cf}|(?! )\p{Z}/u;
const BYTE_ORDER_MARK = "\ufeff";
const MAKE_ONE = "make one with: openssl rand -base64 32";
const SAVE_AS_TEXT = "save it as plain UTF-8 text without a byte order mark";

/** A line of a secret file that is no secret: its description, and the remedy. */
interface Lookalike {
  readonly pattern: RegExp;
  readonly is: string;
  readonly remedy: string;
}

/**
 * Lines that templates and other programs write into such a file. Any of them would be a guessable
 * secret. Base64, which may begin with `//`, hex and passphrases match none of them.
 */
const LOOKALIKES: readonly Lookalike[] = [
  {
    pattern: /^(?:[#;]|\/\*|\/\/(?![\w+/]+=*$))/,
    is: "begins as a comment does",
    remedy: "remove the line: each line is a secret",
  },
  {
    pattern: /^-----(?:BEGIN|END) /,
    is: "is part of a PEM file",
    remedy: MAKE_ONE,
  },
  {
    pattern: /^(?:\{\{[^}]*\}\}|\$\{[^}]*\}|\$\([^)]*\)|\$[A-Z_]+|<[\w .-]+>)$/,
    is: "is a placeholder that was not filled in",
    remedy: "put the secret in its place",
  },
  {
    pattern:
      /^(?:export )?["']?[\w.-]{0,32}(?:secret|password|passphrase|psk|key|token)[\w.-]{0,32}["']?\s*[=:]\s*[^\s=]/i,
    is: "looks like a setting, a name and a value",
    remedy: "write the secret alone on the line",
  },
];

/** @param where name of the file in messages */
export function secretsFromFile(file: string, where: string): string[] {
  return split(readPrivately(file, where), `${where}: ${printable(file)}`);
}

/** One secret per line: the node offers the first and accepts all. */
export function split(text: string, where: string): string[] {
  const lines = text.split(/\r?\n/);
  const secrets = lines.filter((line) => line !== "");
  if (secrets.length === 0) {
    throw bad(`${where} holds no secret`, MAKE_ONE);
  }
  if (secrets.length > MAX_SECRETS) {
    throw bad(`${where} holds more than ${MAX_SECRETS} secrets`, "remove the ones no longer used");
  }
  for (const [i, line] of lines.entries())
    if (line !== "") check(line, `line ${i + 1} of ${where}`);
  return secrets;
}

/**
 * Refuses characters that editors and templates put around a secret. Otherwise two files that look
 * alike hold two secrets, and the nodes only report that their secrets differ.
 */
function check(line: string, where: string): void {
  if (line.startsWith(BYTE_ORDER_MARK)) {
    throw bad(`${where} begins with a byte order mark (EF BB BF)`, SAVE_AS_TEXT);
  }
  const [odd] = NOT_TEXT.exec(line) ?? [];
  if (odd !== undefined && odd !== "\t") {
    const what = odd === "\ufffd" ? "bytes that are not UTF-8" : `the byte ${inHex(odd)}`;
    throw bad(`${where} holds ${what}: it is not text`, SAVE_AS_TEXT);
  }
  if (line.trim() !== line) {
    const side = line.trimEnd() === line ? "begins" : "ends";
    const outer = side === "begins" ? line.slice(0, 1) : line.slice(-1);
    throw bad(
      `${where} ${side} with a blank (${inHex(outer)})`,
      "remove it: a secret neither begins nor ends with a blank",
    );
  }
  if (odd !== undefined) throw bad(`${where} holds a tab (09)`, "remove it: a secret has none");
  const [unseen] = UNSEEN.exec(line) ?? [];
  if (unseen !== undefined) {
    throw bad(
      `${where} holds ${inHex(unseen)}, which is invisible or looks like a blank`,
      "remove it, or write a plain blank (20) in its place",
    );
  }
  const lookalike = LOOKALIKES.find(({ pattern }) => pattern.test(line));
  if (lookalike) throw bad(`${where} ${lookalike.is}`, lookalike.remedy);
  if (line.length < MIN_SECRET) {
    throw bad(`${where} is a secret shorter than ${MIN_SECRET} characters`, MAKE_ONE);
  }
}

/** `09`, or `U+00A0` for a character outside ASCII. */
function inHex(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16).toUpperCase();
  return code < 128 ? hex.padStart(2, "0") : `U+${hex.padStart(4, "0")}`;
}

function readPrivately(file: string, where: string): string {
  const { bytes, stats } = open(file, where);
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
  return bytes.toString();
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
