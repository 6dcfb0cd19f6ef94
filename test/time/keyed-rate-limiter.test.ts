/** Rate limits count by peer, not by session. */
import { describe, expect, it } from "vitest";
import { SERVE_LIMITS } from "../../src/gossip/gossip.js";
import { BURST, RATE } from "../../src/session/session.js";
import { KeyedRateLimiter, MAX_BUCKETS } from "../../src/time/keyed-rate-limiter.js";
import { Stranger } from "../mesh/stranger.js";
import { World } from "../mesh/world.js";
import { ManualClock } from "./manual-clock.js";

describe("budgets", () => {
  const limit = { burst: 4, rate: 1 };

  it("are one for each peer, and the same one until it is full again", () => {
    const clock = new ManualClock();
    const limiter = new KeyedRateLimiter(clock, limit);
    expect(limiter.of("a").spend(4)).toBe(true);
    expect(limiter.of("b").spend(1)).toBe(true);
    clock.run(2_000);
    expect(limiter.of("a").spend(3)).toBe(false);
    expect(limiter.of("a").spend(2)).toBe(true);
    clock.run(4_000);
    expect(limiter.of("a").spend(5)).toBe(false);
    expect(limiter.of("a").spend(4)).toBe(true);
  });

  it("are forgotten when they are full, and those that were spent longest ago when there are too many", () => {
    const clock = new ManualClock();
    const limiter = new KeyedRateLimiter(clock, limit);
    for (let n = 0; n < 2 * MAX_BUCKETS; n++) {
      limiter.of(`${n}`).spend(4);
      expect(limiter.size).toBeLessThanOrEqual(MAX_BUCKETS);
    }
    expect(limiter.of(`${2 * MAX_BUCKETS - 1}`).spend(1)).toBe(false);
    clock.run(4_000);
    limiter.of("last");
    expect(limiter.size).toBe(1);
  });
});

describe("a peer that comes again and again", () => {
  const start = async () => {
    const world = new World();
    const founder = await world.node(1, []);
    world.clock.run(10_000);
    const stranger = new Stranger(world);
    stranger.connect();
    return { world, stranger, id: founder.mesh.self().id };
  };

  it("is sent no more than one that stays", async () => {
    const { world, stranger, id } = await start();
    let records = 0;
    for (let second = 0; second < 300; second++) {
      for (let n = 0; n < 190; n++) stranger.say({ type: "want", keys: [[id, "node"]] });
      world.clock.run(900);
      records += stranger.count(/"body"/g);
      stranger.connect();
    }
    expect(records).toBeLessThanOrEqual(
      SERVE_LIMITS.records.burst + 301 * SERVE_LIMITS.records.rate,
    );
    expect(records).toBeGreaterThan(SERVE_LIMITS.records.burst);
  });

  it("may not send more either", async () => {
    const { world, stranger } = await start();
    for (let n = 0; n <= BURST.messages; n++) stranger.say({ type: "ping", n: 1 });
    world.clock.run(10);
    expect(stranger.isClosed).toBe(true);
    stranger.connect();
    for (let n = 0; n < RATE.messages; n++) stranger.say({ type: "ping", n: 1 });
    world.clock.run(10);
    expect(stranger.isClosed).toBe(true);
    world.clock.run(10_000);
    stranger.connect();
    for (let n = 0; n < RATE.messages; n++) stranger.say({ type: "ping", n: 1 });
    world.clock.run(10);
    expect(stranger.isClosed).toBe(false);
  });
});
