/** JSON as a tree of texts. Numbers and words stay the text they are, as in YAML's failsafe schema. */
import { MAX_DEPTH, type Mapping, type Pair, type TreeNode } from "./tree.js";

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const WORD = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|true\b|false\b|null\b/y;

/** Texts that were read before. */
export type Known = Pick<ReadonlySet<string>, "has" | "size">;

/** Depth of the maps that a document lists. */
const LISTED = 2;

/**
 * Returns undefined if the text is not JSON, or nested too deeply.
 * @param known texts of listed maps that were read before: such a map is parsed when its content is
 *   first read. Without `known`, no map keeps its text
 */
export function parseJson(text: string, known?: Known): TreeNode | undefined {
  const reader = new Reader(text, known);
  const root = reader.node(0);
  return reader.isAtEnd ? root : undefined;
}

/** Offset at which a text stops being JSON. Call it after `parseJson` returned undefined. */
export function endOfJson(text: string): { readonly at: number; readonly isTooDeep: boolean } {
  const reader = new Reader(text);
  reader.node(0);
  return { at: reader.at, isTooDeep: reader.isTooDeep };
}

/** Upper bound of the number of values and keys in a JSON text, found without parsing it. */
export function mostValues(text: string): number {
  let values = 1;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === QUOTE) i = endOfString(text, i);
    else if (BEFORE_VALUE.has(character)) values++;
  }
  return values;
}

/** Writes the document as JSON, every part on its original line. */
export function writeJson(root: TreeNode, lineOf: (offset: number) => number): string {
  const out: string[] = [];
  let line = 1;
  const put = (at: number, text: string) => {
    for (; line < lineOf(at); line++) out.push("\n");
    out.push(text);
  };
  const putAll = <T>(all: readonly T[], one: (item: T) => void) => {
    for (const [i, item] of all.entries()) {
      if (i > 0) out.push(",");
      one(item);
    }
  };
  const write = (node: TreeNode): void => {
    if (node.kind === "text") put(node.at, JSON.stringify(node.text));
    else if (node.kind === "list") {
      put(node.at, "[");
      putAll(node.items, write);
      out.push("]");
    } else {
      put(node.at, "{");
      putAll(node.pairs, ({ at, key, value }) => {
        put(at, `${JSON.stringify(key)}:`);
        write(value);
      });
      out.push("}");
    }
  };
  write(root);
  return out.join("");
}

class Reader {
  readonly #text: string;
  readonly #known: Known | undefined;
  #at: number;
  isTooDeep = false;

  constructor(text: string, known?: Known, at = 0) {
    this.#text = text;
    this.#known = known;
    this.#at = at;
  }

  /** Offset of the next character to read. */
  get at(): number {
    this.#take(SPACE);
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.at === this.#text.length;
  }

  node(depth: number): TreeNode | undefined {
    this.#take(SPACE);
    const at = this.#at;
    const first = this.#text[at];
    this.isTooDeep = depth > MAX_DEPTH;
    if (this.isTooDeep) return undefined;
    if (first === "{") return depth === LISTED ? this.#listed(at) : this.#map(at, depth);
    if (first === "[") {
      const items = this.#members("]", () => this.node(depth + 1));
      return items && { kind: "list", at, items };
    }
    const text = first === '"' ? this.#string() : this.#take(WORD);
    return text === undefined ? undefined : { kind: "text", at, text };
  }

  #map(at: number, depth: number): Mapping | undefined {
    const pairs = this.#members("}", () => this.#pair(depth + 1));
    return pairs && { kind: "map", at, pairs };
  }

  #listed(at: number): Mapping | undefined {
    if (!this.#known) return this.#map(at, LISTED);
    const known = this.#known.size > 0 ? this.#text.slice(at, behindMap(this.#text, at)) : "";
    if (!this.#known.has(known)) {
      const map = this.#map(at, LISTED);
      return map && { ...map, text: this.#text.slice(at, this.#at) };
    }
    this.#at += known.length;
    const text = this.#text;
    return {
      kind: "map",
      at,
      text: known,
      get pairs() {
        return new Reader(text, undefined, at).#map(at, LISTED)!.pairs;
      },
    };
  }

  /** Reads the members between brackets, separated by commas. */
  #members<T>(closing: string, member: () => T | undefined): T[] | undefined {
    const all: T[] = [];
    this.#at++;
    if (this.#isNext(closing)) return all;
    for (;;) {
      const one = member();
      if (one === undefined) return undefined;
      all.push(one);
      if (this.#isNext(closing)) return all;
      if (!this.#isNext(",")) return undefined;
    }
  }

  #pair(depth: number): Pair | undefined {
    this.#take(SPACE);
    const at = this.#at;
    const key = this.#string();
    if (key === undefined || !this.#isNext(":")) return undefined;
    const value = this.node(depth);
    return value && { at, key, value };
  }

  #string(): string | undefined {
    const quoted = this.#take(STRING);
    return quoted === undefined ? undefined : (JSON.parse(quoted) as string);
  }

  #isNext(character: string): boolean {
    this.#take(SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}

const [QUOTE, BACKSLASH, OPENING, CLOSING, LIST, COMMA, COLON] = [...'"\\{}[,:'].map((c) =>
  c.charCodeAt(0),
);

const BEFORE_VALUE: ReadonlySet<number | undefined> = new Set([OPENING, LIST, COMMA, COLON]);

/** Offset behind the map that begins at `at`, if one does. */
function behindMap(text: string, at: number): number {
  for (let i = at, depth = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === OPENING) depth++;
    else if (character === CLOSING && --depth === 0) return i + 1;
    else if (character === QUOTE) i = endOfString(text, i);
  }
  return text.length;
}

/** Offset of the quote that closes the one at `at`. */
function endOfString(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === QUOTE) return i;
    if (character === BACKSLASH) i++;
  }
  return text.length;
}
