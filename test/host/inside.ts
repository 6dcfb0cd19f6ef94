/** Runs weft's code on a host of the lab, in a process of its own, from the built files. */
import { once } from "node:events";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, it } from "vitest";
import type { Host } from "../../src/lab/namespace.js";
import { whyNoLab } from "../../src/lab/requirements.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

export interface Outcome<T> {
  readonly value?: T;
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string };
}

/** The names that a body may use, and `outcomeOf`, which runs one and gives its outcome as JSON. */
const PRELUDE = `
  const weft = async (path) => import(${JSON.stringify(DIST)} + path);
  const { parseAddress: address, parsePrefix: prefix } = await weft("address.js");
  const plain = (key, value) => (typeof value === "bigint" ? String(value) : value);
  const outcomeOf = (run) => run().then(
    (value) => JSON.stringify({ value }, plain),
    ({ code, message, remedy }) => JSON.stringify({ error: { code, message, remedy } }),
  );`;
const node = (script: string): string[] => [
  process.execPath,
  "--input-type=module",
  "--eval",
  `${PRELUDE} ${script}`,
];

/** A program that runs `body`, the body of an async function, and prints its outcome. */
export const program = (body: string): string[] =>
  node(`console.log(await outcomeOf(async () => { ${body} }));`);

export async function inside<T = unknown>(
  host: Host,
  body: string,
  wrapper: readonly string[] = [],
): Promise<Outcome<T>> {
  return JSON.parse(await host.exec([...wrapper, ...program(body)])) as Outcome<T>;
}

/** Runs the bodies that it receives; to load the code anew for each would take most of the time. */
const RESIDENT = (socket: string, path: string): string[] =>
  node(`
    const { createServer } = await import("node:http");
    const { text } = await import("node:stream/consumers");
    process.env.PATH = ${JSON.stringify(path)};
    const run = (body) => eval("async () => { " + body + " }")();
    createServer(async (request, response) => {
      const body = await text(request);
      response.end(await outcomeOf(() => run(body)));
    }).listen(${JSON.stringify(socket)}, () => console.log("ready"));`);

/** One process on a host that runs body after body; `path` is its PATH. It ends with the lab. */
export async function resident(
  host: Host,
  socketPath: string,
  path: string,
): Promise<<T>(body: string) => Promise<Outcome<T>>> {
  await host.spawn(RESIDENT(socketPath, path)).waitForOutput("ready");
  return async (body) => {
    const asked = request({ socketPath, method: "POST", agent: false });
    asked.end(body);
    const [response] = await once(asked, "response");
    return JSON.parse(await text(response));
  };
}

/** Declares tests on real hosts, or one skipped test with the reason why there are none. */
export function onHosts(name: string, tests: () => void): void {
  const why = whyNoLab();
  if (why === undefined) describe(name, tests);
  else describe(name, () => it("on real hosts", ({ skip }) => skip(why)));
}
