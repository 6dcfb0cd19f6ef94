/** The backends of services are checked, each at its interval, and their states follow the results. */
import { beforeEach, describe, expect, it } from "vitest";
import { formatEndpoint } from "../../src/address.js";
import { type NatDocument, readNat } from "../../src/nat/document.js";
import { Health, MAX_PROBES, type Prober } from "../../src/nat/health.js";
import { ManualClock } from "../time/manual-clock.js";

const [FIRST, SECOND] = ["10.244.1.5:8080", "10.244.2.5:8080"];
const web = (check = "http: /health, interval: 5s, timeout: 2s", backends = [FIRST, SECOND]) =>
  readNat(
    `services: [{ name: web, protocol: tcp, address: 10.96.0.10, port: 80, backends: [${backends}], check: { ${check} } }]`,
    "n",
  );

let clock: ManualClock;
let health: Health;
/** The reason why a backend fails; "silence" for one that does not answer. */
let failing: Map<string, string>;
/** Each probe with its time. */
let probes: { to: string; at: number }[];
let log: string[];
let changes: number;
let running: number;
let most: number;

const probe: Prober = async (endpoint, _, signal) => {
  const to = formatEndpoint(endpoint);
  probes.push({ to, at: clock.elapsed() });
  most = Math.max(most, ++running);
  try {
    if (failing.get(to) !== "silence") return failing.get(to);
    return await new Promise((resolve) => signal.addEventListener("abort", () => resolve("ended")));
  } finally {
    running--;
  }
};

beforeEach(() => {
  clock = new ManualClock();
  failing = new Map();
  [probes, log, changes, running, most] = [[], [], 0, 0, 0];
  const say = (message: string) => log.push(message);
  health = new Health({ clock, log: { info: say, warn: say }, probe });
  health.on("changed", () => changes++);
});

/** Lets the time pass in steps, between which probes end. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    clock.run(Math.min(left, 100));
    await new Promise(setImmediate);
  }
}

const down = (document: NatDocument) =>
  document.services.flatMap((service) =>
    service.backends.flatMap((to) => {
      const state = health.downOf(service, to);
      expect(health.passes(service, to)).toBe(state === undefined);
      return state ? [[formatEndpoint(to), state.why]] : [];
    }),
  );

async function checks(document: NatDocument): Promise<void> {
  health.start();
  health.follow(document);
}

describe("a backend", () => {
  it("is up at first, down after two failures in a row, and up with the first success", async () => {
    const document = web();
    failing.set(FIRST, "connection refused");
    await checks(document);
    expect(down(document)).toEqual([]);
    await pass(5_000);
    expect([probes.length, down(document), changes]).toEqual([2, [], 0]);
    await pass(5_500);
    expect(down(document)).toEqual([[FIRST, "connection refused"]]);
    const { since } = health.downOf(document.services[0]!, document.services[0]!.backends[0]!)!;
    expect(since).toBeGreaterThan(clock.now() - 5_500);
    expect([changes, health.revision]).toEqual([1, 1]);
    failing.set(FIRST, "status 503");
    await pass(5_500);
    expect(down(document)).toEqual([[FIRST, "status 503"]]);
    expect(health.downOf(document.services[0]!, document.services[0]!.backends[0]!)!.since).toBe(
      since,
    );
    failing.clear();
    await pass(5_500);
    expect([down(document), changes, health.revision]).toEqual([[], 2, 2]);
    expect(log).toEqual([
      "service web: the backend 10.244.1.5:8080 gets no new flows, because its check fails: connection refused",
      "service web: the backend 10.244.1.5:8080 gets new flows again: its check passes",
    ]);
  });

  it("that fails every other time stays up", async () => {
    const document = web("tcp: true, interval: 1s", [FIRST]);
    await checks(document);
    for (let i = 0; i < 40; i++) {
      if (probes.length % 2 === 0) failing.set(FIRST, "connection refused");
      else failing.clear();
      await pass(300);
    }
    expect(probes.length).toBeGreaterThan(8);
    expect([down(document), changes]).toEqual([[], 0]);
  });

  it("that is silent fails at the timeout", async () => {
    const document = web("tcp: true, interval: 2s, timeout: 500ms", [FIRST]);
    failing.set(FIRST, "silence");
    await checks(document);
    await pass(6_000);
    expect(down(document)).toEqual([[FIRST, "no answer within 500ms"]]);
    expect(running).toBe(0);
  });

  it("does not fail because this process was suspended", async () => {
    const document = web("tcp: true, interval: 1s, timeout: 500ms", [FIRST]);
    failing.set(FIRST, "silence");
    await checks(document);
    for (let i = 0; i < 5; i++) {
      while (running === 0) await pass(100);
      clock.stall(60_000);
      await pass(100);
    }
    expect(probes.length).toBeGreaterThanOrEqual(5);
    expect(down(document)).toEqual([]);
  });
});

describe("probes", () => {
  it("of a backend begin at most once in its interval, and little less often", async () => {
    await checks(web("tcp: true, interval: 2s"));
    await pass(60_000);
    for (const one of [FIRST, SECOND]) {
      const times = probes.filter(({ to }) => to === one).map(({ at }) => at);
      expect(times[0]).toBeLessThanOrEqual(2_000);
      expect(times.length).toBeGreaterThan(25);
      for (let i = 1; i < times.length; i++) {
        expect(times[i]! - times[i - 1]!).toBeGreaterThanOrEqual(2_000);
        expect(times[i]! - times[i - 1]!).toBeLessThanOrEqual(2_200);
      }
    }
    expect(probes[0]!.at).not.toBe(probes[1]!.at);
  });

  it("are bounded in number, and every backend has its turn", async () => {
    const services = [1, 2].map((n) => {
      const backends = Array.from({ length: 200 }, (_, i) => `10.244.${n}.${i + 1}:80`);
      for (const to of backends) failing.set(to, "silence");
      return `{ name: s${n}, protocol: tcp, address: 10.96.0.${n}, port: 80, backends: [${backends}], check: { tcp: true, interval: 1s, timeout: 1s } }`;
    });
    await checks(readNat(`services: [${services}]`, "n"));
    await pass(15_000);
    expect(most).toBe(MAX_PROBES);
    expect(new Set(probes.map(({ to }) => to)).size).toBe(400);
    expect(health.checked().every((one) => one.down)).toBe(true);
  });

  it("are for backends of services with a check only", async () => {
    await checks(
      readNat(
        `services: [{ name: web, protocol: tcp, address: 10.96.0.10, port: 80, backends: [${FIRST}] }]`,
        "n",
      ),
    );
    await pass(20_000);
    expect([probes, health.checked()]).toEqual([[], []]);
  });

  it("end with the stop, and none begins after it", async () => {
    const document = web();
    failing.set(FIRST, "silence");
    await checks(document);
    while (running === 0) await pass(100);
    await health.stop();
    expect(running).toBe(0);
    const { length } = probes;
    await pass(60_000);
    expect([probes.length, down(document)]).toEqual([length, []]);
  });

  it("begin with the start", async () => {
    health.follow(web());
    await pass(20_000);
    expect(probes).toEqual([]);
    health.start();
    await pass(5_000);
    expect(probes).toHaveLength(2);
  });
});

describe("another document", () => {
  it("keeps the states of the backends that it checks as before", async () => {
    const document = web();
    failing.set(FIRST, "connection refused").set(SECOND, "connection refused");
    await checks(document);
    await pass(12_000);
    expect(down(document)).toHaveLength(2);
    const third = "10.244.3.5:8080";
    const next = web("http: /health, interval: 10s", [FIRST, third]);
    expect(down(next)).toEqual([[FIRST, "connection refused"]]);
    health.follow(next);
    expect(down(next)).toEqual([[FIRST, "connection refused"]]);
    expect(health.checked().map(({ to }) => formatEndpoint(to))).toEqual([FIRST, third]);
    probes = [];
    await pass(25_000);
    expect(probes.filter(({ to }) => to === SECOND)).toEqual([]);
    expect(probes.filter(({ to }) => to === FIRST).length).toBeLessThanOrEqual(3);
  });

  it("with another check takes the backend as up until its results", async () => {
    await checks(web());
    failing.set(FIRST, "status 404");
    await pass(12_000);
    const next = web("http: /other");
    expect(down(next)).toEqual([]);
    health.follow(next);
    expect(down(next)).toEqual([]);
    await pass(12_000);
    expect(down(next)).toEqual([[FIRST, "status 404"]]);
  });

  it("without the backend ends its probe, whose result is not taken", async () => {
    await checks(web("tcp: true", [FIRST]));
    failing.set(FIRST, "silence");
    while (running === 0) await pass(100);
    health.follow(web("tcp: true", []));
    await pass(60_000);
    expect([running, probes.length, changes]).toEqual([0, 1, 0]);
  });
});
