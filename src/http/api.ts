/** The API: turns requests into responses. Only the control socket accepts requests that change something. */
import { Readable } from "node:stream";
import { WeftError } from "../error.js";
import { CONTROLS } from "./control.js";
import { METRICS_TYPE, metrics } from "./metrics.js";
import type { Control } from "./view.js";

export interface ApiRequest {
  readonly method: string;
  /** The path, with or without a query. */
  readonly url: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  /** Value of `Sec-Fetch-Site`: the kind of site that made a browser send the request. */
  readonly site: string | undefined;
  /** Whether it came through the control socket, which not every user of the host may open. */
  readonly trusted: boolean;
  /** Reads the body, at most `most` bytes. The body of a refused request is never read. */
  body(most: number): Promise<string>;
}

export interface ApiResponse {
  readonly status: number;
  readonly type: string;
  /** A stream carries JSON too, one value a line, for as long as the client reads it. */
  readonly body: string | Readable;
  /** The accepted methods, in a response to any other. */
  readonly allow?: string;
}

/** All readings of the API: the last part of `/v1/...`. */
export const READINGS = ["status", "peers", "routes", "leases", "counters"] as const;
export type Reading = (typeof READINGS)[number];

/** `localhost`, `127.x.y.z` or `[::1]`, with or without a port. */
const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/** Accepted: no browser, an address that a user typed, or a page of this API itself. */
const OWN_SITE: ReadonlySet<string | undefined> = new Set([undefined, "none", "same-origin"]);

export async function answer(view: Control, question: ApiRequest): Promise<ApiResponse> {
  const { method, url, host, origin, site, trusted } = question;
  // A page in a browser on this host can send requests here. They carry an Origin, or a foreign Host
  // when a name was rebound to a loopback address; a request for an image carries neither.
  if (origin !== undefined || !OWN_SITE.has(site))
    return refuse(403, "web pages may not use this interface");
  if (!LOCAL_HOST.test(host ?? "")) return refuse(403, "the Host header must be localhost");

  const [path = "", query] = url.split("?", 2);
  const control = trusted && Object.hasOwn(CONTROLS, path) ? CONTROLS[path] : undefined;
  if (control) return act(view, control, question, new URLSearchParams(query));
  const reading = READINGS.find((name) => path === `/v1/${name}`);
  if (!reading && path !== "/metrics") {
    return refuse(404, `there is: ${READINGS.map((name) => `/v1/${name}`).join(", ")}, /metrics`);
  }
  if (method !== "GET") return { ...refuse(405, "this interface answers GET only"), allow: "GET" };
  await question.body(0);
  return reading
    ? json(200, view[reading]())
    : { status: 200, type: METRICS_TYPE, body: metrics(view) };
}

async function act(
  view: Control,
  { body: most = 0, ...acts }: (typeof CONTROLS)[string],
  { method, body }: ApiRequest,
  query: URLSearchParams,
): Promise<ApiResponse> {
  const asked = method === "GET" || method === "POST" ? acts[method] : undefined;
  if (!asked) {
    const allow = Object.keys(acts).join(", ");
    return { ...refuse(405, `this path takes ${allow} only`), allow };
  }
  const sent = await body(method === "POST" ? most : 0);
  try {
    const given = await asked(view, query, sent);
    return given instanceof Readable ? lines(given) : json(200, given);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    const { code, message, remedy } = error;
    return json(409, { error: message, code, remedy });
  }
}

export const refuse = (status: number, error: string): ApiResponse => json(status, { error });

const json = (status: number, value: unknown): ApiResponse => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value, bytesAsHex)}\n`,
});

const lines = (body: Readable): ApiResponse => ({
  status: 200,
  type: "application/x-ndjson",
  body,
});

const bytesAsHex = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
