/** How much a test tries that could go on for ever: `short` in `npm test`, `long` in `npm run test:long`. */
export const rounds = (short: number, long: number): number =>
  process.env.WEFT_LONG === undefined ? short : long;
