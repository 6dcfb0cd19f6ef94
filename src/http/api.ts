/** The API: a request in, an answer out. It only reads; nothing here changes the agent. */
import { METRICS_TYPE, metrics } from "./metrics.js";
import type { View } from "./view.js";

export interface Question {
  readonly method: string;
  /** The path, with or without a query. */
  readonly url: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Every reading the API has: the last part of `/v1/...`. */
export const READINGS = ["status", "peers", "routes", "leases", "counters"] as const;
export type Reading = (typeof READINGS)[number];

/** `localhost`, `127.x.y.z` or `[::1]`, with or without a port. */
const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

export function answer(view: View, { method, url, host, origin }: Question): Answer {
  // A page in this host's browser can make it send requests here. They carry an
  // Origin, or, when a name was rebound to a loopback address, a foreign Host.
  if (origin !== undefined) return refuse(403, "web pages may not use this interface");
  if (!LOCAL_HOST.test(host ?? "")) return refuse(403, "the Host header must be localhost");

  const path = url.split("?", 1)[0];
  const reading = READINGS.find((name) => path === `/v1/${name}`);
  if (!reading && path !== "/metrics") {
    return refuse(404, `there is: ${READINGS.map((name) => `/v1/${name}`).join(", ")}, /metrics`);
  }
  if (method !== "GET") return refuse(405, "this interface answers GET only");
  return reading
    ? json(200, view[reading]())
    : { status: 200, type: METRICS_TYPE, body: metrics(view) };
}

export const refuse = (status: number, error: string): Answer => json(status, { error });

const json = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
});
