/** The tree of YAML and JSON documents: texts, lists and maps. Each knows its offset in the document. */
export type TreeNode = Text | List | Mapping;

export interface Text {
  readonly kind: "text";
  readonly at: number;
  readonly text: string;
}

export interface List {
  readonly kind: "list";
  readonly at: number;
  readonly items: readonly TreeNode[];
}

export interface Mapping {
  readonly kind: "map";
  readonly at: number;
  /** The original text, if the parser was asked to keep it. */
  readonly text?: string;
  readonly pairs: readonly Pair[];
}

export interface Pair {
  readonly at: number;
  readonly key: string;
  readonly value: TreeNode;
}

/** Deepest nesting, far beyond any document here. It bounds the recursion. */
export const MAX_DEPTH = 32;
