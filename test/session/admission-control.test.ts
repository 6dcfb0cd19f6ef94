/** Strangers without the secret that connect to the mesh port again and again. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { WeftError } from "../../src/error.js";
import {
  AdmissionControl,
  type Client,
  HANDSHAKE_TIMEOUT,
  HEAVY_SOURCES_RATE,
  MAX_PENDING,
  MAX_PENDING_PER_SOURCE,
  NEW_SOURCES_RATE,
  PER_SOURCE_RATE,
  sourceOf,
} from "../../src/session/admission-control.js";
import { MAX_CONNECTIONS, WARNINGS_RATE, WsTransport } from "../../src/session/transport-ws.js";
import { systemClock } from "../../src/time/system-clock.js";
import { freePort, SECRET } from "../mesh/nodes.js";
import { ManualClock } from "../time/manual-clock.js";

/** The limit of a wait: a busy machine takes its time. */
const BUSY = { timeout: 60_000 };
/** Milliseconds in which strangers could fill the log. */
const LONG = 3_000;
const CHURN = fileURLToPath(new URL("churn.mjs", import.meta.url));
const log = { info() {}, warn() {}, error() {} };
const made: WsTransport[] = [];
const transport = (): WsTransport => {
  const one = new WsTransport({ clock: systemClock, log }, { secrets: [SECRET] });
  made.push(one);
  return one;
};
afterEach(() => Promise.all(made.splice(0).map((one) => one.close())));

/**
 * A node, and a stranger that holds connections to it from `count` addresses until `end`, which gives
 * how many it opened, and in how many seconds.
 */
async function besieged(
  from: { first?: number; count?: number; held: number; text?: string },
  node = transport(),
) {
  const { first = 2, count = 1, held, text = "" } = from;
  const port = await node.listen({ address: "127.0.0.1", port: await freePort() }, () => {});
  const began = performance.now();
  const argv = [port, first, count, held].map(String);
  const stranger = execFile(process.execPath, [CHURN, ...argv, text]);
  onTestFinished(() => void stranger.kill("SIGKILL"));
  let opened = "";
  stranger.stdout!.on("data", (chunk) => {
    opened += chunk;
  });
  const dial = async (): Promise<"in" | string> => {
    const member = transport();
    const result = await new Promise((resolve) => member.dial(`127.0.0.1:${port}`, resolve));
    await member.close();
    return result instanceof WeftError ? result.message : "in";
  };
  const end = async () => {
    stranger.kill("SIGTERM");
    await once(stranger, "close");
    return { count: Number(opened), seconds: (performance.now() - began) / 1_000 };
  };
  return { node, dial, end };
}

const dials = async (dial: () => Promise<string>, times: number): Promise<string[]> => {
  const results: string[] = [];
  while (results.length < times) results.push(await dial());
  return results;
};
/** The number of dials until a session opened. */
async function untilIn(dial: () => Promise<string>): Promise<number> {
  for (let times = 1; ; times++) if ((await dial()) === "in") return times;
}

describe("members get in while a stranger", () => {
  it("holds as many connections of one address as the port takes, and says nothing", async () => {
    const { node, dial } = await besieged({ held: MAX_CONNECTIONS + 100 });
    await expect.poll(() => node.refused.rate, BUSY).toBeGreaterThan(100);
    expect(await dials(dial, 20)).toEqual(Array(20).fill("in"));
  });

  it("begins one handshake after another, none of which is right", async () => {
    const { node, dial, end } = await besieged({
      count: 4,
      held: 20,
      text: "GET / HTTP/1.1\r\n\r\n",
    });
    await expect.poll(() => node.refused.rate, BUSY).toBeGreaterThan(100);
    expect(await dials(dial, 20)).toEqual(Array(20).fill("in"));
    const { count, seconds } = await end();
    const most =
      4 * (PER_SOURCE_RATE.burst + seconds * PER_SOURCE_RATE.rate) +
      HEAVY_SOURCES_RATE.burst +
      seconds * HEAVY_SOURCES_RATE.rate;
    // The last connections may still wait to be accepted.
    await expect.poll(() => count - node.refused.rate).toBeLessThanOrEqual(most);
  });

  it("comes from hundreds of addresses, if they were in before", async () => {
    const { node, dial } = await besieged({ count: 250, held: 3 });
    await untilIn(dial);
    await expect.poll(() => node.refused.rate, BUSY).toBeGreaterThan(500);
    expect(await dials(dial, 20)).toEqual(Array(20).fill("in"));
  });

  it("comes from the same address as they do, after some tries", async () => {
    const { node, dial } = await besieged({ first: 1, held: 50 });
    await expect.poll(() => node.refused.rate, BUSY).toBeGreaterThan(100);
    expect(await untilIn(dial)).toBeLessThan(100);
  });
});

it("strangers at hundreds of addresses do not fill the log", async () => {
  const warnings: string[] = [];
  const talking = { ...log, warn: (text: string) => void warnings.push(text) };
  const node = new WsTransport({ clock: systemClock, log: talking }, { secrets: [SECRET] });
  made.push(node);
  const { end } = await besieged({ count: 250, held: 3, text: "GET / HTTP/1.1\r\n\r\n" }, node);
  await expect.poll(() => warnings.length, BUSY).toBeGreaterThanOrEqual(WARNINGS_RATE.burst);
  await sleep(LONG);
  const { seconds } = await end();
  expect(warnings.length).toBeLessThanOrEqual(WARNINGS_RATE.burst + seconds * WARNINGS_RATE.rate);
  expect(new Set(warnings).size).toBe(warnings.length);
});

describe("the door", () => {
  let closed: () => void;
  class Stub implements Client {
    isOpen = true;
    readonly #closed: (() => void)[] = [];
    constructor(readonly remoteAddress: string) {}
    once(_: "close", listener: () => void): void {
      this.#closed.push(listener);
    }
    resetAndDestroy(): void {
      this.isOpen = false;
      closed = () => {
        for (const listener of this.#closed) listener();
      };
    }
  }
  const open = () => {
    const clock = new ManualClock();
    const door = new AdmissionControl(clock);
    const come = (address: string) => {
      const caller = new Stub(address);
      return { caller, shown: door.admit(caller) };
    };
    return { clock, door, come };
  };

  it("lets a source begin so many handshakes a second and no more, however often it comes", () => {
    const { clock, door, come } = open();
    let began = 0;
    for (let n = 0; n < 100_000; n++) {
      if (come("192.0.2.66").shown) began++;
      clock.run(0.1);
    }
    const most =
      PER_SOURCE_RATE.burst +
      HEAVY_SOURCES_RATE.burst +
      10 * (PER_SOURCE_RATE.rate + HEAVY_SOURCES_RATE.rate);
    expect(began).toBeLessThanOrEqual(most);
    expect(began).toBeGreaterThan(most * 0.9);
    expect(door.refused.rate).toBe(100_000 - began);
  });

  it("lets all sources together that it does not know begin no more than so many", () => {
    const { clock, door, come } = open();
    let began = 0;
    for (let n = 0; n < 100_000; n++) {
      if (come(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`).shown) began++;
      clock.run(0.1);
    }
    expect(began).toBeLessThanOrEqual(NEW_SOURCES_RATE.burst + 10 * NEW_SOURCES_RATE.rate);
    expect(door.pending).toBeLessThanOrEqual(MAX_PENDING);
  });

  it("ends the oldest connection of the source that has most, when all places are taken", () => {
    const { door, come } = open();
    const early = come("192.0.2.1").caller;
    const heavy = Array.from(
      { length: MAX_PENDING_PER_SOURCE + 5 },
      () => come("192.0.2.66").caller,
    );
    expect(heavy.filter(({ isOpen }) => isOpen)).toEqual(heavy.slice(5));
    for (let n = 0; door.pending < MAX_PENDING; n++) come(`198.51.100.${n}`);
    const late = come("192.0.2.2").caller;
    expect(door.pending).toBe(MAX_PENDING);
    expect([early, late].map(({ isOpen }) => isOpen)).toEqual([true, true]);
    expect(heavy[5]!.isOpen).toBe(false);
    expect(door.refused).toEqual({ rate: 0, crowded: 6, late: 0 });
  });

  it("ends the oldest of all where each has one, but not of a source that has shown the secret", () => {
    const { door, come } = open();
    come("192.0.2.1").shown!();
    const member = come("192.0.2.1").caller;
    const first = come("192.0.2.66").caller;
    for (let n = 0; door.pending < MAX_PENDING; n++) come(`198.51.${n >> 7}.${n & 127}`);
    const late = come("192.0.2.2").caller;
    expect([member, late].map(({ isOpen }) => isOpen)).toEqual([true, true]);
    expect(first.isOpen).toBe(false);
  });

  it("ends connections that have not shown the secret in time, and counts each once", () => {
    const { clock, door, come } = open();
    const slow = come("192.0.2.66").caller;
    const quick = come("192.0.2.1");
    quick.shown!();
    clock.run(HANDSHAKE_TIMEOUT);
    closed();
    expect([slow.isOpen, quick.caller.isOpen]).toEqual([false, true]);
    expect(door.pending).toBe(0);
    expect(door.refused).toEqual({ rate: 0, crowded: 0, late: 1 });
  });

  it("does not count a handshake that was right", () => {
    const { door, come } = open();
    for (let n = 0; n < 10_000; n++) come("192.0.2.1").shown!();
    expect(door.refused.rate).toBe(0);
  });

  it("takes an IPv6 /64 for one source, and an IPv4 address for itself however it is written", () => {
    expect(sourceOf("2001:db8::1")).toBe(sourceOf("2001:db8:0:0:ffff::2"));
    expect(sourceOf("2001:db8::1")).not.toBe(sourceOf("2001:db8:0:1::1"));
    expect(sourceOf("::ffff:192.0.2.1")).toBe(sourceOf("192.0.2.1"));
    expect(sourceOf("fe80::1%eth0")).toBe(sourceOf("fe80::2"));
    expect(sourceOf(undefined)).toBe(sourceOf(""));
  });

  it("takes every address that Node names, also those that end like IPv4", () => {
    const { come } = open();
    for (const address of ["::192.0.2.1", "64:ff9b::192.0.2.1", "::ffff:0:192.0.2.1", "::"]) {
      expect(come(address).shown, address).toBeDefined();
    }
    expect(sourceOf("::192.0.2.1")).toBe(sourceOf("::1"));
    expect(sourceOf("64:ff9b::192.0.2.1")).toBe(sourceOf("64:ff9b::1"));
  });
});
