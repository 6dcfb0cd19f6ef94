/** Runs weft's code on a host of the lab, in a process of its own, from the built files. */
import { fileURLToPath } from "node:url";
import { describe, it } from "vitest";
import type { Host } from "../../src/lab/namespace.js";
import { whyNoLab } from "../../src/lab/requirements.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

export interface Outcome<T> {
  readonly value?: T;
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string };
}

/** A program that runs `body`, the body of an async function, and prints its outcome. */
export const program = (body: string): string[] => [
  process.execPath,
  "--input-type=module",
  "--eval",
  `const weft = async (path) => import(${JSON.stringify(DIST)} + path);
   const { parseAddress: address, parsePrefix: prefix } = await weft("address.js");
   const plain = (key, value) => (typeof value === "bigint" ? String(value) : value);
   const run = async () => { ${body} };
   const outcome = await run().then(
     (value) => ({ value }),
     ({ code, message, remedy }) => ({ error: { code, message, remedy } }),
   );
   console.log(JSON.stringify(outcome, plain));`,
];

export async function inside<T = unknown>(
  host: Host,
  body: string,
  wrapper: readonly string[] = [],
): Promise<Outcome<T>> {
  return JSON.parse(await host.exec([...wrapper, ...program(body)])) as Outcome<T>;
}

/** Declares tests on real hosts, or one skipped test with the reason why there are none. */
export function onHosts(name: string, tests: () => void): void {
  const why = whyNoLab();
  if (why === undefined) describe(name, tests);
  else describe(name, () => it("on real hosts", ({ skip }) => skip(why)));
}
