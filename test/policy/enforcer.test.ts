/** One node's part of the policy: what is in force, and when it is made again. */
import { describe, expect, it } from "vitest";
import { type Prefix, parsePrefix } from "../../src/address.js";
import { type Done, WeftError } from "../../src/error.js";
import { Enforcer, type WantedPolicy } from "../../src/policy/enforcer.js";
import {
  type Compiled,
  type Job,
  type PolicyCompiler,
  type PolicyFacts,
  readInPlace,
} from "../../src/policy/engine.js";
import type { Members } from "../../src/policy/resolver.js";

const OWN = [parsePrefix("10.244.1.0/24")];

function policy(name: string, ...from: string[]): WantedPolicy {
  const ingress = [{ action: "allow", from }];
  const text = JSON.stringify({ policies: [{ name, applies: ["10.244.1.0/24"], ingress }] });
  let facts: PolicyFacts | WeftError | undefined;
  readInPlace.read(text, (result) => {
    facts = result;
  });
  return { text, facts: facts as PolicyFacts };
}

const holding = (...nodes: [name: string, lease: string][]): Members =>
  new Map(nodes.map(([name, lease]) => [name, [parsePrefix(lease)]]));

/** Compiles when it is told to, and shows what it was asked for. */
class Hand implements PolicyCompiler {
  readonly jobs: Job[] = [];
  fits: (job: Job) => boolean = () => true;
  isQuick = true;
  #waiting: (() => void) | undefined;
  #numbers = 0;

  read = readInPlace.read;
  tryOut(): void {
    throw new Error("nobody asks for that here");
  }
  compile(job: Job, done: Done<Compiled>): void {
    this.jobs.push(job);
    const number = ++this.#numbers;
    const compiled = {
      image: new Uint8Array(0),
      used: [],
      places: () => new Map(),
      fresh: [number],
    };
    this.#waiting = () =>
      done(
        this.fits(job)
          ? { ...compiled, profile: "rfc" }
          : new WeftError("ACL_FULL", "too many", "use fewer"),
      );
    if (this.isQuick) this.finish();
  }
  finish(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}

function enforcing() {
  const hand = new Hand();
  let changes = 0;
  const enforcer = new Enforcer(hand, () => void changes++);
  /** As the follower does it each time: what is ready is published, then what is wanted is said. */
  const follow = (
    wanted: WantedPolicy | undefined,
    members = holding(),
    own: readonly Prefix[] = OWN,
  ) => {
    enforcer.published();
    return enforcer.want(wanted, members, own);
  };
  const names = () => hand.jobs.map(({ text }) => JSON.parse(text).policies[0]?.name ?? "none");
  return { hand, enforcer, follow, names, changes: () => changes };
}

describe("this node's part of the policy", () => {
  it("is compiled again when the leases of a named node change, and of no other", () => {
    const { hand, follow } = enforcing();
    const wanted = policy("web", "node:h2");
    follow(wanted);
    follow(wanted, holding(["h3", "10.244.3.0/24"]));
    expect(hand.jobs).toHaveLength(1);
    follow(wanted, holding(["h3", "10.244.3.0/24"], ["h2", "10.244.2.0/24"]));
    expect(hand.jobs[1]!.members).toEqual(holding(["h2", "10.244.2.0/24"]));
    follow(wanted, holding(["h2", "10.244.2.0/24"]));
    expect(hand.jobs).toHaveLength(2);
    follow(wanted, holding(["h2", "10.244.2.0/24"]), [parsePrefix("10.244.9.0/24")]);
    expect(hand.jobs).toHaveLength(3);
  });

  it("is settled when it was compiled and published, not before", () => {
    const { hand, enforcer, follow } = enforcing();
    hand.isQuick = false;
    expect(follow(policy("web"))).toBe(false);
    expect(follow(policy("web"))).toBe(false);
    expect(enforcer.ready).toBeUndefined();
    hand.finish();
    expect(enforcer.want(policy("web"), holding(), OWN)).toBe(false);
    expect(follow(policy("web"))).toBe(true);
    expect(hand.jobs).toHaveLength(1);
  });

  it("stays in force while another is compiled, and what came meanwhile is compiled after that", () => {
    const { hand, enforcer, follow, names } = enforcing();
    follow(policy("a"));
    follow(policy("a"));
    const before = enforcer.ready;
    hand.isQuick = false;
    follow(policy("b"));
    follow(policy("c"));
    follow(policy("d"));
    expect(enforcer.ready).toBe(before);
    hand.finish();
    expect(enforcer.ready).not.toBe(before);
    follow(policy("d"));
    expect(names()).toEqual(["a", "b", "d"]);
  });

  it("lets peers wait that the rules do not mean yet, and the leases that they are not about", () => {
    const { hand, enforcer, follow } = enforcing();
    const wanted = policy("web", "node:h2");
    follow(wanted);
    follow(wanted);
    hand.isQuick = false;
    const leases = [parsePrefix("10.244.2.0/24")];
    const more = [...OWN, parsePrefix("10.244.8.0/24")];
    follow(wanted, holding(["h2", "10.244.2.0/24"]), more);
    expect(enforcer.isUpToDate("h2", leases)).toBe(false);
    expect(enforcer.isUpToDate("h3", leases)).toBe(true);
    expect(enforcer.leases).toEqual(OWN);
    hand.finish();
    expect(enforcer.isUpToDate("h2", leases)).toBe(true);
    expect(enforcer.leases).toEqual(more);
  });

  it("stays as it was when the next one does not fit, and follows the leases", () => {
    const { hand, enforcer, follow, names } = enforcing();
    follow(policy("small"));
    follow(policy("small"));
    hand.fits = ({ text }) => !text.includes("large");
    follow(policy("large"));
    expect(enforcer.misfit).toMatchObject({ code: "ACL_FULL" });
    expect(names()).toEqual(["small", "large", "small"]);
    expect(follow(policy("large"))).toBe(true);
    const other = [parsePrefix("10.244.7.0/24")];
    follow(policy("large"), holding(), other);
    expect(names().slice(3)).toEqual(["large", "small"]);
    expect(hand.jobs.at(-1)!.own).toEqual(other);
    follow(policy("other"), holding(), other);
    expect(enforcer.misfit).toBeUndefined();
  });

  it("keeps the meaning of the nodes it names when the next one does not fit and names others", () => {
    const { hand, enforcer, follow } = enforcing();
    const before = holding(["h2", "10.244.2.0/24"]);
    follow(policy("small", "node:h2"), before);
    follow(policy("small", "node:h2"), before);
    hand.fits = ({ text }) => !text.includes("large");
    follow(policy("large", "node:h3"), before);
    expect(hand.jobs.at(-1)!.members).toEqual(before);
    expect(follow(policy("large", "node:h3"), before)).toBe(true);
    expect(hand.jobs).toHaveLength(3);

    const after = holding(["h2", "10.244.9.0/24"]);
    const leases = after.get("h2")!;
    expect(enforcer.isUpToDate("h2", leases)).toBe(false);
    follow(policy("large", "node:h3"), after);
    expect(hand.jobs.at(-1)!.members).toEqual(after);
    expect(enforcer.isUpToDate("h2", leases)).toBe(true);
  });

  it("keeps the rules as they are when those before do not fit either", () => {
    const { hand, enforcer, follow } = enforcing();
    follow(policy("small"));
    follow(policy("small"));
    const before = enforcer.ready;
    hand.fits = () => false;
    follow(policy("large"));
    expect(enforcer.ready).toBe(before);
    expect(follow(policy("large"))).toBe(true);
  });

  it("lets nothing pass when the first one there is does not fit, nor when nothing does", () => {
    const { hand, follow, names } = enforcing();
    hand.fits = ({ text }) => text.includes("closed");
    follow(policy("large"));
    expect(names()).toEqual(["large", "closed"]);
    expect(follow(policy("large"))).toBe(true);

    const worse = enforcing();
    worse.hand.fits = () => false;
    worse.follow(policy("large"));
    expect(worse.follow(policy("large"))).toBe(false);
  });

  it("counts from nothing what is fresh in rules that were never published", () => {
    const { hand, enforcer, follow } = enforcing();
    follow(policy("a"));
    follow(policy("a"));
    hand.isQuick = false;
    enforcer.want(policy("b"), holding(), OWN);
    hand.finish();
    enforcer.want(policy("c"), holding(), OWN);
    hand.finish();
    expect(enforcer.ready!.fresh).toEqual([2, 3]);
    enforcer.published();
    enforcer.want(policy("d"), holding(), OWN);
    hand.finish();
    expect(enforcer.ready!.fresh).toEqual([4]);
  });
});
