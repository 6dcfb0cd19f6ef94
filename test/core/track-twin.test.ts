/** TCP state in the core and its slow twin: the same verdict on every segment of random conversations. */
import { expect, it } from "vitest";
import { ipv4, ipv6, random, seedOfRun, TCP, tcp } from "../packets.js";
import { rounds } from "../rounds.js";
import { AclHost } from "./acl-host.js";
import { A, B, hostOf } from "./host.js";
import { type End, endOf, type Segment, SlowConnection } from "./slow-track.js";

const SEGMENTS = rounds(20_000, 400_000);
const seed = seedOfRun("track");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
const chance = (p: number) => rnd() < p;

const STATES = [
  "syn-sent",
  "syn-received",
  "established",
  "half-closed",
  "closing",
  "time-wait",
  "reset",
];
/** Every state with every verdict. */
const EVERY = STATES.flatMap((state) => [`${state} delivered`, `${state} invalid-state`]);

/** A segment, and what stands where its acknowledgment would, if its ACK flag is not set. */
interface Sent extends Segment {
  readonly unsaid: number;
}

/** An end that knows how to talk, and sometimes does not. */
class Talker {
  readonly #isn = chance(0.3) ? 2 ** 32 - 1 - below(3000) : below(2 ** 32);
  readonly #scale = chance(0.7) ? pick([0, 1, 7, 14, 15]) : undefined;
  #next = this.#isn;
  #heard: number | undefined;
  #isOpen = false;
  #isDone = false;

  constructor(readonly end: End) {}

  hear(s: Segment): void {
    // Of a SYN with data perhaps only the SYN.
    const length = s.syn && chance(0.5) ? 0 : s.length;
    const after = s.sequence + length + Number(s.syn) + Number(s.fin);
    if (s.syn || s.sequence === this.#heard) this.#heard = after >>> 0;
  }

  say(): Sent {
    const syn = !this.#isOpen;
    const fin = !syn && !this.#isDone && chance(0.07);
    const length = this.#isDone || (syn && chance(0.7)) ? 0 : pick([0, 0, 1, 100, 1300]);
    const sequence = this.#next;
    this.#isOpen = true;
    this.#isDone ||= fin;
    this.#next = (this.#next + length + Number(syn) + Number(fin)) >>> 0;
    return {
      from: this.end,
      syn,
      fin,
      rst: chance(0.01),
      sequence,
      ack: this.#heard,
      unsaid: this.#heard ?? 0,
      window: pick([0, 1, 1000, 65535]),
      scale: syn ? this.#scale : undefined,
      length,
    };
  }
}

const NEAR = [0, 1, -1, 2, 100, -1400, 65535, -66000, 66001, 2 ** 20, -(2 ** 24), 2 ** 31];
const near = (n: number) => (n + pick(NEAR) + 2 ** 32) % 2 ** 32;

/** @param known numbers where its sender once was, by itself or by the other end */
function mutate(s: Sent, known: readonly number[]): Sent {
  if (chance(0.15)) return { ...s, syn: true, fin: false, rst: false, ack: undefined };
  const ack = s.ack ?? (chance(0.1) ? 0 : undefined);
  return {
    ...s,
    syn: chance(0.1) ? !s.syn : s.syn,
    fin: chance(0.1) ? !s.fin : s.fin,
    rst: chance(0.25) ? !s.rst : s.rst,
    sequence: chance(0.3) ? pick(known) : chance(0.5) ? near(s.sequence) : s.sequence,
    ack: chance(0.1) ? undefined : ack === undefined || chance(0.5) ? ack : near(ack),
  };
}

/** The answer to a SYN, or to a SYN-ACK, of an end that has lost its earlier connection. */
function answerTo(syn: Sent): Sent {
  const from = syn.from === 0 ? 1 : 0;
  const kind = syn.ack !== undefined || chance(0.1) ? "ack" : chance(0.3) ? "rst" : "syn";
  return {
    from,
    syn: kind === "syn",
    fin: false,
    rst: kind === "rst",
    sequence: syn.ack ?? (kind === "syn" ? below(2 ** 32) : 0),
    ack: chance(0.1) ? near(endOf(syn)) : endOf(syn),
    unsaid: 0,
    window: pick([0, 1000, 65535]),
    scale: kind === "syn" && chance(0.5) ? pick([0, 7]) : undefined,
    length: kind === "ack" ? pick([0, 100]) : 0,
  };
}

function bytesOf(s: Sent, family: 4 | 6, sport: number): Uint8Array {
  const [us, them] = [hostOf(A, family), hostOf(B, family)];
  const [src, dst] = s.from === 0 ? [us, them] : [them, us];
  const ports = s.from === 0 ? { sport, dport: 80 } : { sport: 80, dport: sport };
  const flags =
    (s.fin ? 1 : 0) | (s.syn ? 2 : 0) | (s.rst ? 4 : 0) | (s.ack === undefined ? 0 : 16);
  const options = s.scale === undefined ? new Uint8Array(0) : Uint8Array.of(1, 3, 3, s.scale);
  const payload = tcp(src, dst, new Uint8Array(s.length), {
    ...ports,
    flags,
    options,
    sequence: s.sequence,
    acknowledgment: s.ack ?? s.unsaid,
    window: s.window,
  });
  return (family === 4 ? ipv4 : ipv6)({ src, dst, protocol: TCP, payload });
}

const describeSegment = (s: Segment) =>
  `${s.from === 0 ? "->" : "<-"} ${s.syn ? "S" : ""}${s.fin ? "F" : ""}${s.rst ? "R" : ""} ` +
  `${s.sequence}+${s.length} ack ${s.ack} win ${s.window} scale ${s.scale}`;

it(`agree on ${SEGMENTS} segments`, { timeout: 300_000 }, async () => {
  const node = await AclHost.create({ flows: 1024 });
  node.rules([{ action: "allow" }], [{ action: "allow" }]);
  const seen = new Set<string>();
  const unseen = () => EVERY.filter((one) => !seen.has(one));
  let taken = 0;
  // What is rare may not come up among the first: then it goes on until it does.
  const isEnough = (done: number) =>
    done >= SEGMENTS && (unseen().length === 0 || done >= 20 * SEGMENTS);
  for (let done = 0, sport = 1024; !isEnough(done); sport++) {
    // Nobody stays: the table must not fill.
    node.setClock(sport * 10_000_000);
    const twin = new SlowConnection();
    const ends = [new Talker(0), new Talker(1)] as const;
    const family = pick([4, 6] as const);
    const said: Sent[] = [];
    const story: string[] = [];
    let syn: Sent | undefined;
    let batch: { readonly s: Sent; readonly wanted: string }[] = [];
    const flush = () => {
      if (batch.length === 0) return;
      const packets = batch.map(({ s }) => bytesOf(s, family, sport));
      const verdicts = batch[0]!.s.from === 0 ? node.allOut(packets) : node.allIn(packets);
      const [flow] = node.flows();
      batch.forEach(({ s, wanted }, k) => {
        story.push(`${describeSegment(s)}: ${verdicts[k]}, wanted ${wanted}`);
        seen.add(`${twin.state} ${wanted}`);
      });
      story.push(`  ${flow?.state}, wanted ${twin.state}`);
      if (flow?.state !== twin.state || batch.some(({ wanted }, k) => wanted !== verdicts[k])) {
        throw new Error(story.join("\n"));
      }
      batch = [];
    };
    for (let i = 5 + below(40); i > 0; i--, done++) {
      let s: Sent;
      if (syn && chance(0.2)) s = answerTo(syn);
      else if (said.length > 0 && chance(0.15)) s = pick(said);
      else {
        const speaker = ends[i % 2 === 0 || chance(0.3) ? below(2) : Number(said.length === 1)]!;
        s = speaker.say();
        said.push(s);
        if (chance(0.92)) ends[1 - s.from]!.hear(s);
        const { from } = s;
        const known = said.map((one) => (one.from === from ? endOf(one) : (one.ack ?? one.unsaid)));
        if (chance(0.25)) s = mutate(s, known);
        if (chance(0.05)) continue;
      }
      // What the other end begins after the end of a connection may not be judged in the batch that ended it.
      const isPureSyn = s.syn && s.ack === undefined;
      const goesOn = batch[0]?.s.from === s.from && (!isPureSyn || s.from === twin.first);
      if (!goesOn || chance(0.5)) flush();
      if (s.syn && !s.rst && !s.fin && chance(0.7)) syn = s;
      batch.push({ s, wanted: twin.take(s) ? "delivered" : "invalid-state" });
    }
    flush();
    taken += twin.taken;
  }
  expect(taken).toBeGreaterThan(SEGMENTS / 1000);
  expect(unseen()).toEqual([]);
});
