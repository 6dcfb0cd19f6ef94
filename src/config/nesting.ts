/** How deep a YAML text is nested: the library calls itself at every step down, and a stack has its end. */
import { Lexer } from "yaml";

/** Columns and signs that can open a level, in one line; and brackets that are open at a time. */
const MAX_BLOCKS = 128;
const MAX_BRACKETS = 32;

const OPENING: ReadonlySet<string> = new Set(["[", "{"]);
const CLOSING: ReadonlySet<string> = new Set(["]", "}"]);
/** A level of a block has a dash, a question mark or a colon, or stands further to the right. */
const SIGNS: ReadonlySet<string> = new Set(["-", "?", ":"]);

/** Where the text is nested too deeply, in characters from its beginning. */
export function tooDeepAt(text: string): number | undefined {
  let at = 0;
  let brackets = 0;
  let blocks = 0;
  let isIndent = true;
  for (const token of new Lexer().lex(text)) {
    const isSpace = token.trimStart() === "";
    if (token.endsWith("\n")) [blocks, isIndent] = [0, true];
    else if (isSpace && isIndent && brackets === 0) blocks += token.length;
    else if (SIGNS.has(token) && brackets === 0) blocks++;
    else if (OPENING.has(token)) brackets++;
    else if (CLOSING.has(token)) brackets--;
    if (!isSpace && !SIGNS.has(token)) isIndent = false;
    if (brackets > MAX_BRACKETS || blocks > MAX_BLOCKS) return at;
    if (!CONTROL.has(token)) at += token.length;
  }
  return undefined;
}

/** What the lexer says between the pieces of the text: document, flow error, scalar. */
const CONTROL: ReadonlySet<string> = new Set(["\u0002", "\u0018", "\u001f"]);
