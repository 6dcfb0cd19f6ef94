/** What YAML and JSON both are: texts, lists and maps. Each knows where it begins in the document. */
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
  /** As it stands in the document, where somebody asked for that. */
  readonly text?: string;
  readonly pairs: readonly Pair[];
}

export interface Pair {
  readonly at: number;
  readonly key: string;
  readonly value: TreeNode;
}

/** Far deeper than any document here; a stack has its end. */
export const MAX_DEPTH = 32;
