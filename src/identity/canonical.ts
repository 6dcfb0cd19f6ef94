export type Plain =
  | string
  | number
  | boolean
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** One spelling for one value (JSON, keys sorted, no spaces), so that it can be signed. */
export function canonical(value: Plain): string {
  if (isList(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`);
  return `{${members.join(",")}}`;
}

const isList = (value: Plain): value is readonly Plain[] => Array.isArray(value);
