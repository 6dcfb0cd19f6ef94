/**
 * YAML in which every scalar stays text (the "failsafe" schema), so that a value means the same
 * wherever it occurs: YAML's own numbers would silently turn `010` into 10.
 */
import type { Document, ParsedNode } from "yaml";
import { printable } from "../address.js";
import { WeftError } from "../error.js";
import { ALIAS, excessOf, MAX_TOKENS, TOO_DEEP } from "./limits.js";
import { MAX_DEPTH, type Pair, type TreeNode } from "./tree.js";
import { yamlLibrary } from "./yaml-library.js";

export interface Yaml {
  readonly root: TreeNode;
  lineOf(offset: number): number;
}

/**
 * Parses the part of YAML that JSON has too: no anchors, no tags. An alias is an error, so a document
 * never expands beyond its own length.
 * @param file name of the text in messages
 * @param code code of the errors
 * @param mostTokens most tokens of the text (limits.ts)
 * @throws WeftError, and nothing else, whatever the text is
 */
export function parseYaml(text: string, file: string, code: string, mostTokens = MAX_TOKENS): Yaml {
  const lineOf = linesOf(text);
  const bad = (at: number, what: string, remedy: string) =>
    new WeftError(code, `${printable(file)}:${lineOf(at)}: ${what}`, remedy);
  const excess = excessOf(text, mostTokens);
  if (excess) throw bad(excess.at, ...excess.why);
  const document = compose(text);
  if (document instanceof Error) throw bad(0, printable(document.message), "correct the YAML");
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    throw bad(
      problem.pos[0],
      printable(problem.message),
      'mend the YAML on that line; an address in brackets needs quotes: "[2001:db8::1]:4789"',
    );
  }

  const { isMap, isScalar, isSeq } = yamlLibrary();
  const nodeOf = (node: ParsedNode | null, above: number, depth: number): TreeNode => {
    if (depth > MAX_DEPTH) throw bad(above, ...TOO_DEEP);
    if (node === null) return { kind: "text", at: above, text: "" };
    const [at] = node.range;
    if (isScalar(node)) return { kind: "text", at, text: String(node.value ?? "") };
    if (isSeq(node)) {
      return { kind: "list", at, items: node.items.map((item) => nodeOf(item, at, depth + 1)) };
    }
    if (isMap(node)) {
      const pairs = node.items.map(({ key, value }): Pair => {
        const name = nodeOf(key, at, depth + 1);
        if (name.kind !== "text")
          throw bad(name.at, "a key is a list or a map", "write KEY: VALUE");
        return { at: name.at, key: name.text, value: nodeOf(value, name.at, depth + 1) };
      });
      return { kind: "map", at, pairs };
    }
    throw bad(at, ...ALIAS);
  };
  return { root: nodeOf(document.contents, 0, 0), lineOf };
}

/** The library's result for the text, or its error if it cannot handle the text. */
function compose(text: string): Document.Parsed | Error {
  const { stackTraceLimit } = Error;
  // A text can have an error at each character, and the stack trace is the expensive part of an error.
  Error.stackTraceLimit = 0;
  try {
    // The library compares each key with all others of its map; `fields` and `named` check them in one pass.
    return yamlLibrary().parseDocument(text, {
      schema: "failsafe",
      prettyErrors: false,
      uniqueKeys: false,
    });
  } catch (error) {
    return error as Error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Returns a function from offsets in a text to line numbers, which start at 1. */
export function linesOf(text: string): (offset: number) => number {
  const ends: number[] = [];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) ends.push(at);
  return (offset) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
}

/** `["static-peer", 0, "mac"]` -> `static-peer[0].mac` */
export const dotted = (path: readonly PropertyKey[]): string =>
  path
    .map((step, i) => (typeof step === "number" ? `[${step}]` : `${i ? "." : ""}${String(step)}`))
    .join("");
