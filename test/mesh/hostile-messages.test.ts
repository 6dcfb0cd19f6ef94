/** Every type of message, with each part of it made invalid in turn, from a peer with a session. */
import { describe, expect, it } from "vitest";
import { sealDocument } from "../../src/documents/sealed-document.js";
import { MAX_BODY_BYTES } from "../../src/gossip/record-kind.js";
import { PROTOCOL_VERSION } from "../../src/session/messages.js";
import { cluster, envelopeOf, identity, proofFor } from "./cluster.js";
import { KINDS, parseMessage } from "./messages.js";
import { Stranger } from "./stranger.js";
import { World } from "./world.js";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Path = readonly (string | number)[];

const key = identity(2).publicKey;
const id = identity(2).id;
const envelope = envelopeOf(2);
const proof = proofFor(identity(2), 2).map((grant) => ({ ...grant }));
const digest = "00".repeat(32);
const seal = structuredClone(
  sealDocument(identity(2), cluster, { kind: "policy", proof, version: 1, text: "{}" }),
);

const place = {
  direction: "ingress",
  tier: "default",
  kind: "rule",
  action: "deny",
  isShadow: false,
  policy: "web",
  index: 0,
  line: 5,
};

/** One valid message of each type. */
const right: { readonly [kind: string]: { [key: string]: Json } } = {
  hello: { protocol: PROTOCOL_VERSION, key, instance: id, signature: "00".repeat(64) },
  cluster: { genesis: structuredClone(cluster.genesis) },
  digest: { digest: "00".repeat(32) },
  buckets: { buckets: "f".repeat(64 * 16) },
  versions: { after: "", until: id, versions: [[id, "node", 1]] },
  have: { versions: [[id, "extra", 1]] },
  want: { keys: [[id, "node"]] },
  records: { records: [{ ...envelope }] },
  suspect: { versions: [[id, 1]] },
  "lease-request": {
    name: "h2",
    for: key,
    networks: ["10.244.0.0/16"],
    have: ["00".repeat(64)],
    visited: [id],
  },
  "lease-status-query": { for: key, of: key, nonce: "00".repeat(16), visited: [id] },
  "lease-attestation": {
    attestation: {
      from: key,
      to: key,
      nonce: "00".repeat(16),
      grants: ["00".repeat(64)],
      signature: "00".repeat(64),
    },
  },
  "lease-grant": { proofs: [proof] },
  "lease-return": { grants: ["00".repeat(64)] },
  "lease-refusal": { for: key, reason: "no", visited: [id] },
  "route-request": { ids: [id] },
  "route-update": { paths: [{ to: id, path: [identity(3).id] }] },
  "document-have": { seal },
  "document-none": { kind: "policy", isCertain: true },
  "document-want": { kind: "policy", digest, part: 0 },
  "document-part": { kind: "policy", digest, part: 0, bytes: "e30=" },
  "trace-request": { n: 1, within: 4_000, packet: "RQ==", leaves: true },
  "trace-report": {
    n: 1,
    node: "h2",
    report: {
      stages: [
        {
          stage: "acl",
          saw: "a rule matched",
          verdict: "denied-ingress",
          changes: [{ field: "ttl", from: "64", to: "63" }],
          rules: [place],
        },
      ],
      verdict: "answered",
      reason: "denied-ingress",
      rule: place,
      almost: { rule: place, field: "ports" },
      counter: "in.answered",
      peer: "h1",
      host: { to: "device", device: "eth0", via: "192.0.2.254", why: "a route" },
      path: {
        state: "silent",
        answered: "2030-01-01T00:00:00.000Z",
        path: "via h4",
        endpoint: "192.0.2.4:4789",
      },
    },
  },
  "trace-end": { n: 1, unasked: { node: "h3", from: "h2", why: "no" } },
  ping: { n: 1 },
  pong: { n: 1, time: 1_700_000_000_000 },
  bye: { code: "LOST", reason: "no" },
};

const kinds = Object.keys(right);
const message = (kind: string): { [key: string]: Json } => ({ type: kind, ...right[kind] });

/** The path of every value in a message, and of the message itself. */
function* places(value: Json, path: Path = []): Generator<Path> {
  yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    yield* places(inner, [...path, Array.isArray(value) ? Number(name) : name]);
  }
}

const at = (value: Json, path: Path): Json =>
  path.reduce<Json>((inner, name) => (inner as { [key: string]: Json })[name]!, value);

/** The text of a message with one value replaced by another text. */
function replaced(value: Json, path: Path, text: string): string {
  const mark = "\u0001here\u0001";
  const copy = structuredClone(value);
  if (path.length === 0) return text;
  (at(copy, path.slice(0, -1)) as { [key: string]: Json })[path.at(-1)!] = mark;
  return JSON.stringify(copy).replace(JSON.stringify(mark), () => text);
}

const NUMBERS = [
  "-1",
  "1.5",
  "9007199254740992",
  "9223372036854775808",
  "1e400",
  "NaN",
  "Infinity",
  '"1"',
];
/** Numbers that are valid for a time, and for no other field. */
const TIMES = ["2147483648", "4294967295"];
const wrongNumbers = (value: number): string[] =>
  value > 2 ** 32 ? NUMBERS : [...NUMBERS, ...TIMES];
const DEEP = "[".repeat(10_000) + "]".repeat(10_000);
/** Optional fields of each type. */
const OPTIONAL: { readonly [kind: string]: string } = {
  "route-update": "path",
  "trace-report":
    "from rules policy index line reason rule almost counter peer host device via why path answered",
  "trace-request": "leaves",
  "trace-end": "unasked",
};
const ANYWHERE = ["null", "true", "0.5", '"\\u0000"', "{}", "[[]]", DEEP, '{"length":1}'];

/** Invalid texts for the place of this value. */
function* wrong(kind: string, value: Json): Generator<string> {
  const optional = OPTIONAL[kind]?.split(" ") ?? [];
  yield* ANYWHERE.filter((text) => typeof value !== "boolean" || text !== "true");
  if (typeof value === "number") yield* wrongNumbers(value);
  if (typeof value === "string") {
    yield JSON.stringify(`${value}\n`);
    yield JSON.stringify(`${value}\ud800`);
    yield JSON.stringify(value + "0".repeat(MAX_BODY_BYTES));
  }
  if (Array.isArray(value)) yield `[${Array(257).fill(JSON.stringify(value[0])).join()}]`;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const name of ["extra", "__proto__", "constructor", ""]) {
      yield JSON.stringify(value).replace("{", `{${JSON.stringify(name)}:1,`);
    }
    for (const [name, inner] of Object.entries(value)) {
      const { [name]: _, ...rest } = value;
      if (!optional.includes(name)) yield JSON.stringify(rest);
      yield JSON.stringify({ ...rest, [name]: [inner] });
    }
  }
}

it("there is a right one of each kind here", () => {
  expect([...kinds].sort()).toEqual([...KINDS].sort());
  for (const kind of kinds) expect(parseMessage(JSON.stringify(message(kind)))?.type).toBe(kind);
});

describe("with anything in it made wrong it is no message:", () => {
  it.each(kinds)("%s", (kind) => {
    const whole = message(kind);
    const taken: string[] = [];
    let tried = 0;
    for (const path of places(whole)) {
      for (const text of wrong(kind, at(whole, path))) {
        const changed = replaced(whole, path, text);
        tried++;
        if (parseMessage(changed)) taken.push(`${path.join(".")}: ${changed.slice(0, 300)}`);
      }
    }
    expect(taken).toEqual([]);
    expect(tried).toBeGreaterThan(20);
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a kind that there is not", '{"type":"obey"}'],
    ["a kind of the prototype", '{"type":"toString"}'],
    ["a list", "[]"],
    ["depth", DEEP],
    ["half a megabyte", `{"type":"want","ids":[${'"00",'.repeat(100_000)}"00"]}`],
  ])("%s", (_, text) => {
    expect(parseMessage(text)).toBeUndefined();
  });
});

describe("a peer that sends it is told so, and changes nothing:", () => {
  it.each(kinds)("%s", async (kind) => {
    const world = new World();
    const nodes = [await world.node(1, []), await world.node(2, [1])];
    world.clock.run(10_000);
    const state = () => nodes.map(({ mesh }) => [mesh.self(), facts(mesh.members())]);
    const facts = (members: readonly object[]) =>
      members.map((member) => ({ ...member, rttMs: undefined }));
    const before = state();
    const stranger = new Stranger(world);
    const whole = message(kind);
    for (const path of places(whole)) {
      const value = at(whole, path);
      for (const text of typeof value === "number" ? wrongNumbers(value) : [DEEP, "{}"]) {
        stranger.connect();
        stranger.sayText(replaced(whole, path, text));
        world.clock.run(50);
        expect(stranger.isClosed, text).toBe(true);
        expect(stranger.heard.join()).toMatch(/"type":"bye","code":"PROTOCOL"/);
      }
    }
    expect(state()).toEqual(before);
    expect(nodes.flatMap(({ mesh }) => mesh.problems())).toEqual([]);
  });
});
