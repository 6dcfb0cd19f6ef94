/**
 * Bounds the cost of a YAML text by its tokens, before the library composes it: the library
 * recurses at every level, and makes many objects of each token.
 */
import { yamlLibrary } from "./yaml-library.js";

/** Most columns and signs that can open a level, in one line; most brackets open at a time. */
const MAX_BLOCKS = 128;
const MAX_BRACKETS = 32;
/** Most tokens. Spaces and line ends are tokens too: a rule of a policy has some fifty. */
export const MAX_TOKENS = 2_000_000;

/** The reason why a text is refused, and its offset in characters. */
interface Excess {
  readonly at: number;
  readonly why: readonly [what: string, remedy: string];
}

export const TOO_DEEP = [
  "this is nested too deeply",
  "close the brackets, correct the indentation",
] as const;
/** Aliases of aliases can expand beyond any memory. */
export const ALIAS = [
  "this is a reference to another part of the text",
  "write it out, without an alias",
] as const;
const tooMany = (most: number) =>
  [`the text has more than ${most} words and signs`, "write less, or write it as JSON"] as const;

const OPENING: ReadonlySet<string> = new Set(["[", "{"]);
const CLOSING: ReadonlySet<string> = new Set(["]", "}"]);
/** A block level has a dash, a question mark or a colon, or is indented further. */
const SIGNS: ReadonlySet<string> = new Set(["-", "?", ":"]);
/** Marks of the lexer between the pieces of the text: document, flow error, scalar. */
const SCALAR = "\u001f";
const CONTROL: ReadonlySet<string> = new Set(["\u0002", "\u0018", SCALAR]);

/** The first bound that the text exceeds; undefined if the library may compose it. */
export function excessOf(text: string, mostTokens: number): Excess | undefined {
  let at = 0;
  let tokens = 0;
  let brackets = 0;
  let blocks = 0;
  let isIndent = true;
  let isScalar = false;
  const { Lexer } = yamlLibrary();
  for (const token of new Lexer().lex(text)) {
    const isSpace = token.trimStart() === "";
    if (token.startsWith("*") && !isScalar) return { at, why: ALIAS };
    if (token.endsWith("\n")) [blocks, isIndent] = [0, true];
    else if (isSpace && isIndent && brackets === 0) blocks += token.length;
    else if (SIGNS.has(token) && brackets === 0) blocks++;
    else if (OPENING.has(token)) brackets++;
    else if (CLOSING.has(token)) brackets--;
    if (!isSpace && !SIGNS.has(token)) isIndent = false;
    if (brackets > MAX_BRACKETS || blocks > MAX_BLOCKS) return { at, why: TOO_DEEP };
    if (++tokens > mostTokens) return { at, why: tooMany(mostTokens) };
    if (!CONTROL.has(token)) at += token.length;
    isScalar = token === SCALAR;
  }
  return undefined;
}
