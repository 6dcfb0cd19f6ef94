/** JSON as a tree of texts. Numbers and words stay the text they are, as in YAML's failsafe schema. */
import { MAX_DEPTH, type Node, type Pair } from "./tree.js";

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const WORD = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|true\b|false\b|null\b/y;

/** Nothing if the text is not JSON, or nested too deeply. */
export function parseJson(text: string): Node | undefined {
  const reader = new Reader(text);
  const root = reader.node(0);
  return reader.isAtEnd ? root : undefined;
}

/** The same document as JSON, every part of it on the line on which it stood. */
export function writeJson(root: Node, lineOf: (offset: number) => number): string {
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
  const write = (node: Node): void => {
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
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    this.#take(SPACE);
    return this.#at === this.#text.length;
  }

  node(depth: number): Node | undefined {
    this.#take(SPACE);
    const at = this.#at;
    const first = this.#text[at];
    if (depth > MAX_DEPTH) return undefined;
    if (first === "{") {
      const pairs = this.#members("}", () => this.#pair(depth + 1));
      return pairs && { kind: "map", at, pairs };
    }
    if (first === "[") {
      const items = this.#members("]", () => this.node(depth + 1));
      return items && { kind: "list", at, items };
    }
    const text = first === '"' ? this.#string() : this.#take(WORD);
    return text === undefined ? undefined : { kind: "text", at, text };
  }

  /** What stands between brackets, with commas between. */
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
