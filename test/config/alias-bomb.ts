/** Short YAML that stands for 9^9 values: each line has nine aliases of the line before. */
export const ALIAS_BOMB = Array.from({ length: 10 }, (_, n) =>
  n === 0
    ? "a0: &a0 [x]"
    : `a${n}: &a${n} [${Array(9)
        .fill(`*a${n - 1}`)
        .join()}]`,
).join("\n");
