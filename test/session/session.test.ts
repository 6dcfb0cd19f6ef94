/** One session with a hostile peer, which is a bare connection that sends any text. */
import { beforeEach, describe, expect, it } from "vitest";
import type { WeftError } from "../../src/error.js";
import { MAX_SENTENCE } from "../../src/identity/fields.js";
import { MAX_MESSAGE_BYTES, PROTOCOL_VERSION } from "../../src/session/messages.js";
import { SendQueues } from "../../src/session/send-queues.js";
import {
  BURST,
  HELLO_TIMEOUT,
  IDLE_TIMEOUT,
  PING_AFTER,
  plainSentence,
  RATE,
  Session,
  SUSPECT_AFTER,
} from "../../src/session/session.js";
import type { Connection } from "../../src/session/transport.js";
import { MemoryNetwork } from "../../src/session/transport-memory.js";
import { KeyedRateLimiter } from "../../src/time/keyed-rate-limiter.js";
import { identity, recordOf } from "../mesh/cluster.js";
import { type Message, parseMessage, protocols } from "../mesh/messages.js";
import { ManualClock } from "../time/manual-clock.js";

const [us, them] = [identity(1), identity(2)];
const INSTANCE = "11".repeat(16);

let clock: ManualClock;
let session: Session;
let ended: WeftError | undefined;
let opened: boolean;
let got: object[];
/** The times at which the other end was found silent. */
let missed: number[];
/** The hostile end, and the messages that it received. */
let far: Connection;
let heard: Message[];

const start = async () => {
  clock = new ManualClock();
  [ended, opened, got, missed, heard] = [undefined, false, [], [], []];
  const network = new MemoryNetwork(clock);
  await network.host("a").listen({ address: "", port: 1 }, (connection) => {
    session = new Session(
      connection,
      "listener",
      {
        clock,
        identity: us,
        instance: INSTANCE,
        messages: new KeyedRateLimiter(clock, { burst: BURST.messages, rate: RATE.messages }),
        bytes: new KeyedRateLimiter(clock, { burst: BURST.bytes, rate: RATE.bytes }),
        queues: new SendQueues(),
        protocols,
        isMember: () => false,
      },
      {
        opened: () => {
          opened = true;
        },
        message: (_, message) => void got.push(message),
        quiet: ({ isResponsive }) => isResponsive || missed.push(clock.elapsed()),
        closed: (_, reason) => {
          ended = reason;
        },
      },
    );
    session.start();
  });
  network.host("b").dial("a:1", (result) => {
    far = result as Connection;
    far.open({ message: (text) => void heard.push(parseMessage(text)!), closed() {} });
  });
  clock.run(10);
};

const say = (message: unknown) => {
  far.send(typeof message === "string" ? message : JSON.stringify(message));
  clock.run(2);
};

const hello = ({
  by = them,
  role = "dialer",
  binding = far.channelBinding,
  instance = "22".repeat(16),
} = {}) => ({
  type: "hello",
  protocol: PROTOCOL_VERSION,
  key: by.publicKey,
  instance,
  signature: by.sign(
    `weft hello ${PROTOCOL_VERSION}\n${role}\n${by.publicKey}\n${instance}\n${Buffer.from(binding).toString("hex")}`,
  ),
});

beforeEach(start);

describe("hello", () => {
  it("that is right opens the session", () => {
    say(hello());
    expect(opened).toBe(true);
    expect(session.peer).toMatchObject({ id: them.id, publicKey: them.publicKey });
  });

  it.each<[string, () => unknown, string]>([
    ["signed for another connection", () => hello({ binding: new Uint8Array(32) }), "IDENTITY"],
    ["that reflects our own role", () => hello({ role: "listener" }), "IDENTITY"],
    ["with another's key", () => ({ ...hello(), key: identity(3).publicKey }), "IDENTITY"],
    [
      "of another instance than was signed",
      () => ({ ...hello(), instance: "33".repeat(16) }),
      "IDENTITY",
    ],
    ["of another protocol", () => ({ ...hello(), protocol: PROTOCOL_VERSION + 1 }), "VERSION"],
    ["from this node itself", () => hello({ by: us, instance: INSTANCE }), "SELF"],
    ["from a copy of this node", () => hello({ by: us }), "CLONE"],
    ["replaced by something else", () => ({ type: "ping", n: 1 }), "PROTOCOL"],
  ])("%s ends it, and the other end is told", (_, message, code) => {
    say(message());
    expect(opened).toBe(false);
    expect(ended?.code).toBe(code);
    expect(heard.at(-1)).toMatchObject({ type: "bye", code });
  });

  it("that echoes our own does not open it", () => {
    say({ ...heard[0], key: us.publicKey });
    expect(opened).toBe(false);
    expect(ended).toBeDefined();
  });

  it("that does not come in time ends it", () => {
    clock.run(HELLO_TIMEOUT);
    expect(ended?.code).toBe("SILENT");
  });
});

describe("an open session", () => {
  beforeEach(() => say(hello()));

  const record = recordOf(2);
  it.each<[string, unknown]>([
    ["what is no JSON", "{"],
    ["an empty frame", ""],
    ["an unknown type", { type: "teleport" }],
    ["a field too much", { type: "ping", n: 1, extra: true }],
    ["a field of the prototype", '{"type":"ping","n":1,"__proto__":{"a":1}}'],
    ["depth", "[".repeat(30_000) + "]".repeat(30_000)],
    ["a message over the limit", { type: "bye", code: "A", reason: "x".repeat(MAX_MESSAGE_BYTES) }],
    [
      "a second hello",
      {
        type: "hello",
        protocol: PROTOCOL_VERSION,
        key: "00".repeat(32),
        instance: INSTANCE,
        signature: "00".repeat(64),
      },
    ],
    ...[
      "2147483648",
      "4294967295",
      "9007199254740992",
      "9223372036854775808",
      "1e400",
      "-1",
      "0",
      "1.5",
      "null",
      '"1"',
    ].map((version): [string, unknown] => [
      `a record of version ${version}`,
      JSON.stringify({ type: "records", records: [record] }).replace(
        '"version":1',
        `"version":${version}`,
      ),
    ]),
    ["NaN", '{"type":"ping","n":NaN}'],
    ["65 records at once", { type: "records", records: Array.from({ length: 65 }, () => record) }],
    [
      "a genesis that does not fit",
      {
        type: "cluster",
        genesis: { founder: us.publicKey, network: [{ prefix: "010.0.0.0/8", leaseLength: 24 }] },
      },
    ],
    ["a time after the year 9999", { type: "pong", n: 0, time: 253_402_300_800_000 }],
    ["a time before 1970", { type: "pong", n: 0, time: -1 }],
    ["a newline in a sentence", { type: "lease-refusal", reason: "a\nb" }],
  ])("ends at %s, with nothing handed on", (_, message) => {
    say(message);
    expect(ended?.code).toBe("PROTOCOL");
    expect(got).toEqual([]);
  });

  it("answers pings and measures its own", () => {
    say({ type: "ping", n: 7 });
    expect(heard).toContainEqual({ type: "pong", n: 7, time: clock.now() - 1 });
    const ping = heard.filter((message) => message.type === "ping").at(-1)!;
    clock.run(30);
    say({ type: "pong", n: ping.n, time: 0 });
    expect(session.rttMs).toBeGreaterThanOrEqual(30);
    expect(ended).toBeUndefined();
  });

  it("is not fooled by a pong that was not asked for", () => {
    say({ type: "pong", n: 99, time: 0 });
    expect(session.rttMs).toBeUndefined();
    expect(session.aheadMs).toBeUndefined();
  });

  it.each([
    ["as early as the ping was sent", (sent: number) => sent, 0],
    ["as late as the pong came", (_: number, came: number) => came, 0],
    ["2 s before the ping", (sent: number) => sent - 2_000, -2_000],
    ["2 s after the pong", (_: number, came: number) => came + 2_000, 2_000],
  ])("takes no round trip for a difference of clocks: %s", (_, timeOf, ahead) => {
    const ping = heard.findLast((message) => message.type === "ping")!;
    const sent = clock.now() - 1;
    clock.run(1_000);
    say({ type: "pong", n: ping.n, time: timeOf(sent, clock.now() + 1) });
    expect(Math.abs(session.aheadMs! - ahead)).toBeLessThan(10);
  });

  it.each([
    ["back", -7_200_000],
    ["forth", 7_200_000],
  ])("takes no clock that was set %s meanwhile for a difference of clocks", (_, by) => {
    const ping = heard.findLast((message) => message.type === "ping")!;
    const time = clock.now();
    clock.set(by);
    say({ type: "pong", n: ping.n, time });
    expect(Math.abs(session.aheadMs!)).toBeLessThan(10);
  });

  it("ends when nothing is heard", () => {
    clock.run(IDLE_TIMEOUT + PING_AFTER.most);
    expect(ended?.code).toBe("SILENT");
  });

  it("pings a peer that is quiet, and not one that sends", () => {
    const pings = () => heard.filter(({ type }) => type === "ping").length;
    const before = pings();
    for (let n = 0; n < 20; n++) {
      clock.run(PING_AFTER.least / 2);
      say({ type: "pong", n: 0, time: 0 });
    }
    expect(pings()).toBe(before);
    clock.run(PING_AFTER.most);
    expect(pings()).toBe(before + 1);
  });

  it("is suspected once after long silence, and no more when it sends again", () => {
    const began = clock.elapsed();
    clock.run(IDLE_TIMEOUT - PING_AFTER.most);
    expect(missed[0]! - began).toBeGreaterThan(SUSPECT_AFTER - 10);
    expect(missed[0]! - began).toBeLessThan(SUSPECT_AFTER + PING_AFTER.most);
    expect(missed.length).toBeGreaterThan(3);
    expect(session.isResponsive).toBe(false);
    say({ type: "pong", n: 0, time: 0 });
    const count = missed.length;
    clock.run(SUSPECT_AFTER - 10);
    expect(missed.length).toBe(count);
    expect(session.isResponsive).toBe(true);
  });

  it("is not missed for as long as this process stood still", () => {
    clock.run(1_000);
    clock.stall(60_000);
    clock.run(SUSPECT_AFTER - PING_AFTER.most - 1_000);
    expect(missed).toEqual([]);
    expect(ended).toBeUndefined();
    clock.run(IDLE_TIMEOUT);
    expect(ended?.code).toBe("SILENT");
  });

  it.each([3600_000, -3600_000])("outlives a time of day that is set by %i ms", (ms) => {
    clock.set(ms);
    say({ type: "pong", n: 0, time: 0 });
    clock.run(2 * PING_AFTER.most);
    expect(ended).toBeUndefined();
    expect(heard.at(-1)).toMatchObject({ type: "ping" });
    clock.run(IDLE_TIMEOUT);
    expect(ended?.code).toBe("SILENT");
  });

  it("ends when too much comes at once", () => {
    for (let i = 0; i <= BURST.messages; i++) far.send('{"type":"ping","n":1}');
    clock.run(2);
    expect(ended?.code).toBe("FLOOD");
  });

  it("is told why it closes in plain text, and of a long reason that it is cut", () => {
    expect(plainSentence("a\u00e9b")).toBe("a?b");
    expect(plainSentence("x".repeat(MAX_SENTENCE))).toBe("x".repeat(MAX_SENTENCE));
    expect(plainSentence("x".repeat(MAX_SENTENCE + 1))).toBe(`${"x".repeat(MAX_SENTENCE - 3)}...`);
  });

  it("hears why the other end closes", () => {
    say({ type: "bye", code: "OTHER_CLUSTER", reason: "two clusters meet" });
    expect(ended).toMatchObject({
      code: "OTHER_CLUSTER",
      message: expect.stringContaining("two clusters meet"),
      remedy: expect.stringContaining("keep one"),
    });
  });
});
