/**
 * The cost of access lists with thousands of rules: a search without a known flow, and the time from a
 * document to published tables. With WEFT_CLASSBENCH, the name of a folder, also for the ClassBench
 * sets in it.
 *
 *     npx tsx bench/acl.ts
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseMac, parsePrefix } from "../src/address.js";
import { Acl } from "../src/compile/acl.js";
import { AclTable } from "../src/compile/acl-table.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import { type PolicyDocument, readPolicy } from "../src/policy/document.js";
import { NO_RULES, type PolicyRules, rulesOf } from "../src/policy/rules.js";
import { random } from "../test/packets.js";
import {
  entriesOf,
  type Filter,
  type FilterHeader,
  findLinearly,
  headerFrom,
  makeFilters,
  readFilters,
} from "./classbench.js";
import { inWords, nanoseconds } from "./nanoseconds.js";
import { quantile } from "./statistics.js";
import { table } from "./table.js";

const RULES = 8000;
/** More headers than fit in a processor's caches. */
const HEADERS = 1 << 16;
/** Number of headers that the linear matcher checks too. */
const CHECKED = 500;
/** Bytes of a header for the core's findRules, and the offset of its result. */
const QUESTION_SIZE = 20;
const ANSWER = 16;
const NUMBER = 0xffffff;
const POLICIES = 100;
const ROUNDS = 11;
const SEED = 1;

export interface AclRow {
  readonly work: string;
  readonly bytes: number;
  readonly ns: number;
  readonly spread: string;
}

export async function aclRows(): Promise<AclRow[]> {
  const rows: AclRow[] = [];
  for (const [name, filters] of sets()) rows.push(await coldSearch(name, filters));
  return [...rows, ...(await compilation())];
}

function sets(): [string, Filter[]][] {
  const made: [string, Filter[]] = ["made here", makeFilters(RULES, random(SEED))];
  const folder = process.env.WEFT_CLASSBENCH;
  if (folder === undefined) return [made];
  const files = readdirSync(folder).filter((name) => name.endsWith(".rules"));
  return [
    made,
    ...files.map((name): [string, Filter[]] => [name, readFilters(join(folder, name))]),
  ];
}

// ------------------------------------------------------------------- searching

/** Finds classes by address, and the first rule by classes, protocol and ports. */
async function coldSearch(name: string, filters: readonly Filter[]): Promise<AclRow> {
  const { memory, layout, exports, view } = await Core.create();
  const at = layout.TABLES + layout.ACL_AT;
  const acl = new Acl();
  acl.update([entriesOf(filters), []]);
  new AclTable(memory.buffer, at, layout).update(acl);

  const rnd = random(SEED);
  const headers = Array.from({ length: HEADERS }, () => headerFrom(filters, rnd));
  const placeOf = (i: number) => layout.SLOTS + i * QUESTION_SIZE;
  for (const [i, header] of headers.entries()) writeQuestion(view, placeOf(i), header);

  const { median, spread } = nanoseconds(() => exports.findRules(at, layout.SLOTS, HEADERS));
  for (const [i, header] of headers.slice(0, CHECKED).entries()) {
    const found = view.getUint32(placeOf(i) + ANSWER, true) & NUMBER;
    // Filters are numbered from 1, and each header belongs to one.
    const expected = findLinearly(filters, header) + 1;
    if (found !== expected) throw new Error(`${name}: found rule ${found}, not ${expected}`);
  }
  return {
    work: `ACL cold, ${filters.length} rules, ${name}`,
    bytes: 0,
    ns: Number((median / HEADERS).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

function writeQuestion(view: DataView, at: number, header: FilterHeader): void {
  view.setUint32(at, header.src, false);
  view.setUint32(at + 4, header.dst, false);
  view.setUint32(at + 8, header.sourcePort * 65_536 + header.destinationPort, true);
  view.setUint32(at + 12, header.protocol, true);
}

// ------------------------------------------------------------------- compiling

async function compilation(): Promise<AclRow[]> {
  const publisher = new Publisher(await Core.create());
  const mac = parseMac("02:00:00:00:00:01");
  const own = { vni: 1, mac, mtu: 1450, leases: [parsePrefix("10.0.1.0/24")] };
  let inForce = NO_RULES;
  const put = (rules: PolicyRules) => {
    publisher.publish(own, [], rules);
    inForce = rules;
  };
  let document: PolicyDocument | undefined;
  const read = (text: string) => {
    document = readPolicy(text, "bench", document);
    return document;
  };
  const putDocument = (document: PolicyDocument) =>
    put(rulesOf(document, new Map(), own.leases, inForce));
  const texts = [documentOf(80), documentOf(81)];
  const documents = texts.map(read);

  const whole = milliseconds(
    () => {
      put(NO_RULES);
      document = undefined;
    },
    () => putDocument(read(texts[0]!)),
  );
  let round = 0;
  const nothing = () => {};
  const one = milliseconds(nothing, () => putDocument(read(texts[++round % 2]!)));
  const oneRead = milliseconds(nothing, () => putDocument(documents[++round % 2]!));
  return [
    compileRow(`${RULES} rules from document to tables`, whole),
    compileRow(`one of ${RULES} rules changed, from document to tables`, one),
    compileRow("the same, from a document that was read before", oneRead),
  ];
}

/** A hundred policies with all rules; the first rule allows this port. */
function documentOf(port: number): string {
  const rnd = random(SEED);
  const below = (n: number) => Math.floor(rnd() * n);
  const rule = () => ({
    action: below(4) === 0 ? "deny" : "allow",
    protocol: below(2) === 0 ? "tcp" : "udp",
    from: [`10.${below(4)}.${below(256)}.0/24`],
    ports: [below(3) === 0 ? `${1024 + below(1000)}-${3000 + below(5000)}` : below(1024)],
  });
  const policies = Array.from({ length: POLICIES }, (_, i) => ({
    name: `p${i}`,
    applies: [`10.0.1.${1 + i}`],
    ingress: Array.from({ length: RULES / POLICIES }, rule),
  }));
  policies[0]!.ingress[0] = { ...policies[0]!.ingress[0]!, ports: [port] };
  return JSON.stringify({ policies }, null, 2);
}

function milliseconds(before: () => void, run: () => void): number[] {
  return Array.from({ length: ROUNDS }, () => {
    before();
    const start = performance.now();
    run();
    return performance.now() - start;
  });
}

function compileRow(work: string, times: readonly number[]): AclRow {
  const median = quantile(times, 0.5);
  const spread = (quantile(times, 0.9) - quantile(times, 0.1)) / 2;
  return {
    work,
    bytes: 0,
    ns: Math.round(median * 1e6),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const rows = await aclRows();
  const cells = rows.map((row) => [row.work, inWords(row.ns), row.spread]);
  console.log(table([["work", "ns", "spread"], ...cells]).join("\n"));
}
