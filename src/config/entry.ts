/**
 * An entry of a document that an operator wrote. Reading is strict: each reader accepts one
 * spelling, an unknown key is a mistake, and every mistake is reported with file, line and path.
 */
import { printable } from "../address.js";
import { WeftError } from "../error.js";
import { endOfJson, type Known, mostValues, parseJson, writeJson } from "./json.js";
import { TOO_DEEP } from "./limits.js";
import { didYouMean } from "./nearest.js";
import type { Mapping, TreeNode } from "./tree.js";
import { dotted, linesOf, parseYaml } from "./yaml.js";

interface DocumentSource {
  readonly file: string;
  /** Code of the errors. */
  readonly code: string;
  lineOf(offset: number): number;
}

/**
 * Reads a document in YAML or JSON. JSON is YAML too, and has a parser of its own because that is
 * many times faster.
 * @param file name of the text in messages
 * @param code code of the errors
 * @param known texts of listed maps that were read before (`Entry.text`)
 * @throws WeftError
 */
export function readDocument(text: string, file: string, code: string, known?: Known): Entry {
  const json = parseJson(text, known);
  if (json) return new Entry({ file, code, lineOf: linesOf(text) }, json, json.at, []);
  const { root, lineOf } = parseYaml(text, file, code);
  return new Entry({ file, code, lineOf }, root, root.at, []);
}

/** Most values and keys in a document from elsewhere. Each is an object in memory. */
export const MAX_VALUES = 1_000_000;

/**
 * Reads a text that another node or process sent: JSON only, with its size checked before it is
 * parsed.
 * @throws WeftError
 */
export function readJson(text: string, file: string, code: string, known?: Known): Entry {
  const source = { file, code, lineOf: linesOf(text) };
  const bad = (at: number, what: string, remedy: string) =>
    new WeftError(code, `${printable(file)}:${source.lineOf(at)}: ${what}`, remedy);
  const values = mostValues(text);
  if (values > MAX_VALUES) {
    throw bad(0, `${values} values are more than ${MAX_VALUES}`, "write less");
  }
  const json = parseJson(text, known);
  if (json) return new Entry(source, json, json.at, []);
  const { at, isTooDeep } = endOfJson(text);
  if (isTooDeep) throw bad(at, ...TOO_DEEP);
  throw bad(at, "this is not JSON", "weft policy apply and weft nat apply make JSON of YAML");
}

/**
 * Returns the document as JSON with the same lines, so that many readers can parse it quickly.
 * @throws WeftError when the text is neither YAML nor JSON
 */
export function asJson(text: string, file: string, code: string): string {
  if (parseJson(text)) return text;
  const { root, lineOf } = parseYaml(text, file, code);
  return writeJson(root, lineOf);
}

export class Entry {
  readonly #source: DocumentSource;
  readonly #node: TreeNode;
  readonly #at: number;
  readonly #path: readonly PropertyKey[];

  /** @param at offset of its key, or of its value if it has no key */
  constructor(source: DocumentSource, node: TreeNode, at: number, path: readonly PropertyKey[]) {
    this.#source = source;
    this.#node = node;
    this.#at = at;
    this.#path = path;
  }

  get line(): number {
    return this.#source.lineOf(this.#at);
  }

  get isText(): boolean {
    return this.#node.kind === "text";
  }

  /** The original text of a map that a JSON document lists, when `known` was given. */
  get text(): string | undefined {
    return this.#node.kind === "map" ? this.#node.text : undefined;
  }

  /** The content without its position: equal for equal texts. */
  get words(): string {
    return wordsOf(this.#node);
  }

  bad(what: string, remedy: string): WeftError {
    const { file, code } = this.#source;
    const where = [`${printable(file)}:${this.line}`, dotted(this.#path)].filter(Boolean);
    return new WeftError(code, `${where.join(": ")}: ${what}`, remedy);
  }

  /** Reads one value that is not empty. */
  read<T>(parse: (text: string) => T): T {
    if (this.#node.kind !== "text") {
      throw this.bad("it takes a single value", "write one value here, not a list or a map");
    }
    if (this.#node.text === "")
      throw this.bad("it has no value", "write one, or leave the key out");
    try {
      return parse(this.#node.text);
    } catch (error) {
      throw error instanceof WeftError ? this.bad(error.message, error.remedy) : error;
    }
  }

  /** Reads one of these words. */
  word<T extends string>(...known: readonly T[]): T {
    return this.read((text) => {
      const word = known.find((one) => one === text);
      if (word !== undefined) return word;
      const { code } = this.#source;
      throw new WeftError(code, `"${printable(text)}" is not known here`, remedyFor(text, known));
    });
  }

  list(most: number): Entry[] {
    if (this.#node.kind !== "list") {
      throw this.bad("this is not a list", "write [A, B], or one item a line, each behind a dash");
    }
    const { items } = this.#node;
    if (items.length > most) {
      throw this.bad(`${items.length} items are more than ${most}`, `give at most ${most}`);
    }
    return items.map((item, i) => new Entry(this.#source, item, item.at, [...this.#path, i]));
  }

  /** All entries of a map whose keys are names that the document makes up. */
  named(most: number): Map<string, Entry> {
    const { pairs } = this.#map();
    if (pairs.length > most) {
      throw this.bad(`${pairs.length} entries are more than ${most}`, `give at most ${most}`);
    }
    const all = new Map<string, Entry>();
    for (const { key, at, value } of pairs) {
      const entry = new Entry(this.#source, value, at, [...this.#path, printable(key)]);
      if (all.has(key)) throw entry.bad("it occurs twice", "keep one of the two");
      all.set(key, entry);
    }
    return all;
  }

  /**
   * The entries of a map with these keys.
   * @param elsewhere messages for keys that belong in another document
   */
  fields<K extends string>(
    known: readonly K[],
    elsewhere: Readonly<Record<string, readonly [what: string, remedy: string]>> = {},
  ): FieldNames<K> {
    const all = this.named(MAX_KEYS);
    for (const [key, entry] of all) {
      if ((known as readonly string[]).includes(key)) continue;
      const [what, remedy] = Object.hasOwn(elsewhere, key)
        ? elsewhere[key]!
        : [`"${printable(key)}" is not a known name`, remedyFor(key, known)];
      throw entry.bad(what, remedy);
    }
    return {
      optional: (key) => all.get(key),
      required: (key) => {
        const entry = all.get(key);
        if (entry) return entry;
        throw this.bad(`"${key}" is missing`, `give it: ${key}: ...`);
      },
    };
  }

  #map(): Mapping {
    if (this.#node.kind === "map") return this.#node;
    throw this.bad("this is not a map", "write KEY: VALUE, one a line, or { KEY: VALUE, ... }");
  }
}

export interface FieldNames<K extends string> {
  optional(key: K): Entry | undefined;
  required(key: K): Entry;
}

/** More keys than any known map has; enough to name the first unknown one. */
const MAX_KEYS = 64;

const remedyFor = (typed: string, known: readonly string[]): string =>
  didYouMean(typed, known) ?? `use one of: ${known.join(", ")}`;

function wordsOf(node: TreeNode): string {
  if (node.kind === "text") return JSON.stringify(node.text);
  if (node.kind === "list") return `[${node.items.map(wordsOf).join()}]`;
  return `{${node.pairs.map(({ key, value }) => `${JSON.stringify(key)}:${wordsOf(value)}`).join()}}`;
}
