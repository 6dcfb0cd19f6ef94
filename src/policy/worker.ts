/** The thread of the policy engine: handles orders one after the other, and answers each. */
import { parentPort, workerData } from "node:worker_threads";
import type { AclLayout } from "../compile/acl-table.js";
import { WeftError } from "../error.js";
import { PolicyEngine } from "./engine.js";
import { type Order, packed, type Reply } from "./thread.js";

const engine = new PolicyEngine(workerData as AclLayout);

parentPort!.on("message", (order: Order) => {
  if (order.verb === "read") engine.read(order.text, reply);
  else if (order.verb === "tryOut") engine.tryOut(order.job, reply);
  else engine.compile(order.job, (made) => reply(made instanceof WeftError ? made : packed(made)));
});

function reply(result: unknown): void {
  parentPort!.postMessage(
    (result instanceof WeftError
      ? { error: { code: result.code, message: result.message, remedy: result.remedy } }
      : { result }) satisfies Reply,
  );
}
