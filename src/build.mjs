/**
 * Builds the core: build/core.wasm, and from the same source build/explain.wasm, in which every
 * stage leaves a trace (assembly/trace.ts).
 */
import asc from "assemblyscript/asc";

const EXPLAINING = [
  ...["--use", "EXPLAINING=1"],
  ...["--outFile", "build/explain.wasm", "--textFile", "build/explain.wat"],
];

/**
 * The compiler optimises until the module no longer shrinks. It says so when the last round made it
 * a few bytes larger, which nobody has to do anything about.
 */
const HARMLESS = /^Last converge was suboptimal\.\s*$/;

const stderr = {
  write: (text) => HARMLESS.test(text) || process.stderr.write(text),
};

for (const flags of [[], EXPLAINING]) {
  const { error } = await asc.main(["--config", "asconfig.json", ...flags], {
    stdout: process.stdout,
    stderr,
  });
  if (error) process.exit(1);
}
