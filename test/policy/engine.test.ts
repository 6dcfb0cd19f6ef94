/** Policies read and compiled, in place and in a thread, and the images that come of it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { parseMac, parsePrefix } from "../../src/address.js";
import { Core } from "../../src/core/instance.js";
import type {
  Compiled,
  Job,
  PolicyCompiler,
  PolicyFacts,
  TrialResult,
} from "../../src/policy/engine.js";
import { A, B, C, Host, hostOf, MTU } from "../core/host.js";
import { ipv4, seedOfRun, UDP, udp, vxlan } from "../packets.js";
import { Maker } from "./random.js";

// The thread runs what was built.
const { PolicyThread } = await import("../../dist/policy/thread.js");
const { promised } = await import("../../dist/error.js");
const { PolicyEngine } = await import("../../dist/policy/engine.js");

const THREAD = new URL("../../dist/policy/thread.js", import.meta.url).href;
const { layout } = await Core.create();
const own = A.leases.map(parsePrefix);
const jobOf = (text: string): Job => ({ text, members: new Map(), own });
const compile = (by: PolicyCompiler, text: string) =>
  promised<Compiled>((done) => by.compile(jobOf(text), done));

const plain = (made: Compiled) => ({ ...made, image: 0, places: made.places() });

/** A group of prefixes 60 deep, rules that all name it, and hosts that lie in all of its prefixes. */
function nested(rules: number): string {
  const group = Array.from({ length: 60 }, (_, i) => `fd00::/${20 + i}`);
  const ingress = Array.from({ length: rules }, (_, i) => ({
    action: "allow",
    protocol: "tcp",
    from: i % 16 ? ["group:g"] : [`fd00::${i.toString(16)}`],
    ports: [i],
  }));
  const policies = [{ name: "deep", applies: ["10.244.0.0/16"], ingress }];
  return JSON.stringify({ groups: { g: group }, policies });
}

let thread: PolicyCompiler & { stop(): Promise<void> };
const inThread = () => {
  thread = new PolicyThread({ ...layout }) as typeof thread;
  return thread;
};
afterEach(() => thread?.stop());

describe("the policy engine", () => {
  it("makes in a thread what it makes in place, change after change", async () => {
    const make = new Maker(seedOfRun("engine"));
    const [here, there] = [new PolicyEngine(layout), inThread()];
    let document = make.document();
    for (let i = 0; i < 30; i++) {
      document = make.change(document);
      const text = JSON.stringify(document);
      const [a, b] = await Promise.all([compile(here, text), compile(there, text)]);
      expect(plain(b)).toEqual(plain(a));
      for (const { from, size } of a.used) {
        const part = ({ image }: Compiled) => Buffer.from(image.subarray(from, from + size));
        expect(part(a).equals(part(b))).toBe(true);
      }
    }
  });

  it("refuses with the same words in a thread, and goes on", async () => {
    const there = inThread();
    const ask = (text: string) => promised<PolicyFacts>((done) => there.read(text, done));
    await expect(ask("policies: []")).rejects.toThrow("policy:1: this is not JSON");
    await expect(ask("[".padEnd(4_000_000, ","))).rejects.toMatchObject({ code: "POLICY" });
    expect(await ask('{"profile": "linux", "policies": []}')).toEqual({
      profile: "linux",
      nodes: new Set(),
    });
    const job = { ...jobOf(nested(32)), carried: [parsePrefix("192.0.2.0/24")] };
    const { counts, outside } = await promised<TrialResult>((done) => there.tryOut(job, done));
    expect(counts).toEqual([0, 33]);
    expect(outside).toHaveLength(20);
  });

  it("lets the main thread go on while a costly policy is compiled", async () => {
    const there = inThread();
    const text = nested(16_000);
    expect(text.length).toBeGreaterThan(800_000);
    await compile(there, '{"policies": []}');
    let turns = 0;
    let longest = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      turns++;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 5);
    const began = performance.now();
    const places = (await compile(there, text)).places();
    const took = performance.now() - began;
    clearInterval(beat);
    expect(places.size).toBe(16_001);
    // In place there would be no turn at all, and one pause as long as the whole.
    expect(turns).toBeGreaterThan(10);
    expect(longest).toBeLessThan(took / 2);
  });

  it("gives up what takes all memory of its thread, and begins anew", async () => {
    const there = new PolicyThread({ ...layout }, { heapMb: 24 }) as typeof thread;
    thread = there;
    await expect(compile(there, nested(16_000))).rejects.toThrow(/given up/);
    expect((await compile(there, '{"policies": []}')).places().size).toBe(0);
  });
});

describe("the time that a policy may take", () => {
  const inTime = (ms: number) => {
    thread = new PolicyThread({ ...layout }, { ms }) as typeof thread;
    return thread;
  };

  it("has an end", async () => {
    await expect(compile(inTime(300), nested(16_000))).rejects.toThrow(
      "the policy was given up: it took longer than 0.3 s",
    );
  });

  it("begins again when the process was suspended meanwhile", async () => {
    const child = spawn(process.execPath, ["-e", SUSPENDED]);
    child.stdin.end(JSON.stringify({ layout: { ...layout }, text: nested(2_000) }));
    await once(child.stdout, "data");
    child.kill("SIGSTOP");
    await sleep(6_500);
    child.kill("SIGCONT");
    const [said] = await once(child.stdout, "data");
    child.kill();
    expect(String(said)).toBe("2001");
  });
});

/** Compiles within five seconds, and says when it begins and how many places it has. */
const SUSPENDED = `
const { layout, text } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const own = [{ family: 4, base: 0x0af40100n, length: 24 }];
import("${THREAD}").then(({ PolicyThread }) => {
  const thread = new PolicyThread(layout, { ms: 5_000 });
  const compile = (text, done) => thread.compile({ text, members: new Map(), own }, done);
  const say = (text) => process.stdout.write(text);
  compile('{"policies": []}', () => {
    compile(text, (made) => say(made.message ?? String(made.places().size)));
    say("begins");
  });
});`;

describe("an image", () => {
  const OWN = { vni: 1, mac: parseMac(A.mac), mtu: MTU, leases: own };
  const deny = (port: number) =>
    JSON.stringify({
      policies: [
        {
          name: "web",
          applies: ["10.244.1.0/24"],
          ingress: [{ action: "deny", protocol: "udp", ports: [port] }, { action: "allow" }],
        },
      ],
    });

  it("is in both copies of the core, whatever is compiled after it", async () => {
    const engine = new PolicyEngine(layout);
    const host = await Host.create();
    const arrives = (dport: number) => {
      const [src, dst] = [hostOf(B), hostOf(A)];
      const payload = udp(src, dst, new Uint8Array(8), { sport: 1000 + dport, dport });
      const packet = vxlan(ipv4({ src, dst, protocol: UDP, payload }));
      return host.receive([{ from: B.endpoint, bytes: packet }]).verdicts[0];
    };
    const publish = (peers = [B, C], rules?: Compiled) => host.publisher.publish(OWN, peers, rules);
    publish([B, C]);
    for (const port of [53, 80, 53, 443]) {
      const compiled = await compile(engine, deny(port));
      publish([B, C], compiled);
      await compile(engine, deny(port + 1)); // It takes the place of the image.
      for (const peers of [[B, C], [B], [B, C], [B]]) {
        publish(peers);
        expect([arrives(port), arrives(port + 1)]).toEqual([
          "answered denied-ingress",
          "delivered",
        ]);
      }
    }
  });
});
