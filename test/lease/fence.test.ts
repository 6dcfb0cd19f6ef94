import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RENEW_EVERY } from "../../src/gossip/record.js";
import {
  FENCE_AFTER,
  Fence,
  HEARD_IF_OPEN_AFTER,
  LEASE_TTL,
  REVOKE_AFTER,
} from "../../src/lease/fence.js";
import { IDLE_TIMEOUT, PING_AFTER } from "../../src/session/session.js";
import type { Clock } from "../../src/time/clock.js";
import { seed } from "../mesh/seed.js";
import { ManualClock, NodeClock } from "../time/manual-clock.js";

/** A clock that runs fast or slow. */
const skewed = (clock: Clock, rate: number): Clock => ({
  now: () => Math.floor(clock.now() * rate),
  elapsed: () => clock.elapsed() * rate,
  after: (ms, fn) => clock.after(ms / rate, fn),
  random: () => clock.random(),
});

/** A model of a node that renews its lease; its session with the granter comes and goes. */
class Node {
  readonly life: NodeClock;
  readonly clock: Clock;
  readonly fence: Fence;
  session = { isOpen: true, peer: { id: "granter" } };
  /** Whether the granter receives its renewals. */
  connected = true;

  constructor(
    readonly world: ManualClock,
    rate: number,
    readonly disk: { heard: number },
    readonly learned: () => void,
    matters = true,
  ) {
    this.life = new NodeClock(world);
    this.clock = skewed(this.life, rate);
    this.fence = new Fence({
      clock: this.clock,
      disk: {
        cluster: disk,
        saveCluster: ({ heard }) => {
          disk.heard = heard;
        },
        safely: (act) => act(),
      },
      ledger: { granters: new Set(matters ? ["granter"] : []) },
      connections: { sessions: () => (this.session.isOpen ? [this.session] : []) },
      members: { has: (id) => id === "granter" },
    });
    this.fence.start();
    this.renew();
  }

  renew(): void {
    if (!this.fence.isClosed) {
      this.fence.published();
      if (this.connected) this.learned();
    }
    this.clock.after(RENEW_EVERY, () => this.renew());
  }

  /** Ends the session; the node notices by its silence. */
  cut(): void {
    this.connected = false;
    const { session } = this;
    this.life.after(IDLE_TIMEOUT + PING_AFTER.most, () => {
      session.isOpen = false;
    });
  }

  heal(): void {
    this.connected = true;
    this.session = { isOpen: true, peer: { id: "granter" } };
  }
}

describe("the fence of a node", () => {
  it("trusts a session longer than a dead one takes to be noticed", () => {
    expect(HEARD_IF_OPEN_AFTER).toBeGreaterThan(IDLE_TIMEOUT + PING_AFTER.most);
  });

  it("is closed before anyone may take the lease back: cuts, restarts, clocks 1 % off either way", () => {
    const hours = (most: number) => fc.integer({ min: 0, max: most * 3600 }).map((s) => s * 1000);
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom("cut" as const, "heal" as const), for: hours(30) }),
      fc.record({ kind: fc.constant("restart" as const), for: hours(30) }),
    );
    const rate = fc.constantFrom(0.99, 1, 1.01);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), rate, rate, (steps, own, granterRate) => {
        const world = new ManualClock(seed);
        const granter = skewed(world, granterRate);
        let learned = granter.now();
        const disk = { heard: skewed(world, own).now() };
        const start = () =>
          new Node(world, own, disk, () => {
            learned = granter.now();
          });
        let node = start();
        const look = () => {
          if (granter.now() - learned >= REVOKE_AFTER) expect(node.fence.isClosed).toBe(true);
        };
        for (const { kind, for: ms } of [...steps, { kind: "cut" as const, for: 30 * 3600_000 }]) {
          if (kind === "cut") node.cut();
          else if (kind === "heal") node.heal();
          else {
            const { connected } = node;
            node.life.kill();
            world.run(ms);
            node = start();
            if (!connected) node.cut();
          }
          for (let left = ms; left > 0; left -= 600_000) {
            world.run(Math.min(left, 600_000));
            look();
          }
        }
      }),
      { seed, numRuns: 60 },
    );
  });

  it("does not count what was sent into a dead session", () => {
    const world = new ManualClock(seed);
    const disk = { heard: world.now() };
    const node = new Node(world, 1, disk, () => {});
    world.run(RENEW_EVERY - 5_000);
    const before = disk.heard;
    node.cut();
    world.run(RENEW_EVERY);
    expect(disk.heard).toBe(before);
  });

  it("does not count a node that is no member as a receiver: the granter may never learn of it", () => {
    const world = new ManualClock(seed);
    const disk = { heard: world.now() };
    const node = new Node(world, 1, disk, () => {});
    const before = disk.heard;
    node.session = { isOpen: true, peer: { id: "newcomer" } };
    world.run(FENCE_AFTER + 60_000);
    expect([disk.heard, node.fence.isClosed]).toEqual([before, true]);
  });

  it("is closed from the first moment of a start that comes too late", () => {
    const world = new ManualClock(seed);
    const node = new Node(world, 1, { heard: world.now() - FENCE_AFTER }, () => {});
    expect(node.fence.isClosed).toBe(true);
  });

  it("stays open while the node is heard", () => {
    const world = new ManualClock(seed);
    const node = new Node(world, 1, { heard: world.now() }, () => {});
    world.run(10 * LEASE_TTL);
    expect(node.fence.isClosed).toBe(false);
  });

  it("closes when no node hears this one, and opens only by the granter's attestation", () => {
    const world = new ManualClock(seed);
    const node = new Node(world, 1, { heard: world.now() }, () => {});
    node.cut();
    world.run(FENCE_AFTER + 60_000);
    expect(node.fence.isClosed).toBe(true);
    node.heal();
    world.run(2 * RENEW_EVERY);
    expect(node.fence.isClosed).toBe(true);
    node.fence.open();
    expect(node.fence.isClosed).toBe(false);
  });

  it("is closed at a start with a clock set back to before the disk was written", () => {
    const world = new ManualClock(seed);
    const node = new Node(world, 1, { heard: world.now() + LEASE_TTL }, () => {});
    expect(node.fence.isClosed).toBe(true);
  });

  it("never closes for a node that granted itself its lease: no other node can revoke it", () => {
    const world = new ManualClock(seed);
    const node = new Node(world, 1, { heard: 0 }, () => {}, false);
    node.cut();
    world.run(3 * LEASE_TTL);
    expect(node.fence.isClosed).toBe(false);
  });
});
