/** The path MTU prober, on a path that drops packets above its MTU and some others. */
import { describe, expect, it } from "vitest";
import {
  HINT_EVERY,
  PathMtu,
  PROBES,
  RAISE_AFTER,
  RAISE_EVERY,
  SEARCH_SIZES,
} from "../../src/paths/path-mtu.js";
import { randomFrom, seed } from "../mesh/seed.js";
import { ManualClock } from "../time/manual-clock.js";

const LEAST = 526;
const MOST = 1450;
const RTT = 2;

/** One path, whose MTU and loss may change during a test. */
class Path {
  takes = MOST;
  /** Share of round trips that are lost. */
  loss = 0;
  responseMs = RTT;
  /** The rate limit: whether so many probes may be sent now. */
  mayProbe: (count: number) => boolean = () => true;
  readonly clock: ManualClock;
  readonly prober: PathMtu;
  /** All sizes that were probed, and all that came into use. */
  readonly probed: number[] = [];
  readonly used: number[] = [];

  constructor(start = 1, { least = LEAST, most = MOST } = {}) {
    this.clock = new ManualClock(start);
    const random = randomFrom(start + 1);
    this.prober = new PathMtu(
      {
        clock: this.clock,
        path: () => ({ responseMs: this.responseMs, loss: this.loss }),
        mayProbe: (count) => this.mayProbe(count),
        probe: (size) => {
          this.probed.push(size);
          if (size > this.takes || random() < this.loss) return;
          this.clock.after(this.responseMs, () => this.prober.answered(size));
        },
        changed: () => this.used.push(this.prober.size),
      },
      { least, most },
    );
  }

  moved(): void {
    this.prober.pathChanged();
    this.prober.confirm();
  }

  /** Runs until this size is in use; returns the milliseconds that took. */
  until(size: number, most = 10_000): number {
    const began = this.clock.elapsed();
    while (this.prober.size !== size) {
      if (this.clock.elapsed() - began > most) throw new Error(`${this.prober.size} is in use`);
      this.clock.run(10);
    }
    return this.clock.elapsed() - began;
  }
}

it("sends no more probes than may be sent now, and what waits is not held for lost", () => {
  const path = new Path();
  path.takes = 1300;
  let [left, asked] = [5, 0];
  path.mayProbe = (count) => {
    asked++;
    if (left < count) return false;
    left -= count;
    return true;
  };
  path.prober.confirm();
  path.clock.run(5_000);
  expect(path.probed.length).toBeLessThanOrEqual(5);
  expect([path.prober.size, asked > 20]).toEqual([MOST, true]);
  left = 1_000;
  path.until(1300);
});

describe("a hint", () => {
  it("that is a lie costs three probes, and changes nothing", () => {
    const path = new Path();
    path.prober.confirm(526);
    path.clock.run(60_000);
    expect(path.used).toEqual([]);
    expect(path.probed.sort()).toEqual([1450, 526, 527]);
  });

  it("that is true takes effect in less than half a second", () => {
    const path = new Path();
    path.takes = 1350;
    path.prober.confirm(1350);
    expect(path.until(1350)).toBeLessThan(500);
    path.clock.run(RAISE_AFTER - 500);
    expect(path.used).toEqual([1350]);
  });

  it("that names too little of a path that did narrow does not keep its size", () => {
    const path = new Path();
    path.takes = 1350;
    path.prober.confirm(526);
    expect(path.until(1350)).toBeLessThan(2_000);
    expect(path.used.toSorted((a, b) => a - b)).toEqual(path.used);
  });

  it("that names more than the path takes leads to what it takes", () => {
    const path = new Path();
    path.takes = 1000;
    path.prober.confirm(1350);
    expect(path.until(1000)).toBeLessThan(2_000);
  });

  it.each([0, 1, 525, 1450, 1451, 9000])("of %i is nothing that was not tried anyway", (hint) => {
    const path = new Path();
    path.prober.confirm(hint);
    path.clock.run(1_000);
    expect(path.used).toEqual([]);
    expect(path.probed.every((size) => size >= LEAST && size <= MOST)).toBe(true);
  });

  it("is not listened to while one is being verified, nor for a second after that", () => {
    const path = new Path();
    for (let ms = 0; ms < 10_000; ms += 10) {
      if (path.prober.mayConfirm) path.prober.confirm(526 + (ms % 900));
      path.clock.run(10);
    }
    expect(path.used).toEqual([]);
    expect(path.probed.length).toBeLessThanOrEqual((10_000 / HINT_EVERY) * 3);
  });

  it("about a path that is down changes nothing, and a search for a size ends", () => {
    const path = new Path();
    path.takes = 0;
    path.prober.confirm(1350);
    path.clock.run(60_000);
    expect(path.used).toEqual([]);
    expect(path.probed.length).toBeLessThanOrEqual(PROBES.least * (3 + SEARCH_SIZES + 1));
    expect(path.prober.mayConfirm).toBe(true);
  });
});

describe("without any hint", () => {
  it.each([526, 527, 700, 1349, 1350, 1400, 1449])("a path that takes %i is found to", (takes) => {
    const path = new Path();
    path.takes = takes;
    path.prober.confirm();
    expect(path.until(takes)).toBeLessThan(3_000);
  });

  it("a path with 1500 bytes between interfaces of 9000 is found to take 1450", () => {
    const path = new Path(1, { most: 8950 });
    path.takes = 1450;
    path.prober.confirm();
    expect(path.until(1450)).toBeLessThan(3_000);
  });
});

describe("a path that is wide again", () => {
  it("is used soon, and later is looked for at longer and longer intervals", () => {
    const path = new Path();
    path.takes = 1350;
    path.prober.confirm(1350);
    path.until(1350);
    path.takes = MOST;
    expect(path.until(MOST)).toBeLessThanOrEqual(RAISE_AFTER + 100);

    path.takes = 1350;
    path.prober.confirm(1350);
    path.until(1350);
    path.probed.length = 0;
    path.clock.run(24 * 3_600_000);
    expect(path.prober.size).toBe(1350);
    expect(path.probed.length).toBeLessThan((24 * 3_600_000 * 3 * PROBES.least) / RAISE_EVERY + 90);
    path.takes = MOST;
    expect(path.until(MOST, 2 * RAISE_EVERY)).toBeLessThanOrEqual(RAISE_EVERY + 1_000);
  });

  it("may be wide to a size between", () => {
    const path = new Path();
    path.takes = 1000;
    path.prober.confirm(1000);
    path.until(1000);
    path.takes = 1234;
    expect(path.until(1234)).toBeLessThanOrEqual(RAISE_AFTER + 3_000);
  });
});

describe("an interface with another MTU", () => {
  it("that is smaller counts at once, and nothing larger is probed", () => {
    const path = new Path();
    path.prober.confirm(526);
    path.probed.length = 0;
    path.prober.resize({ least: LEAST, most: 1250 });
    expect(path.prober.size).toBe(1250);
    path.prober.confirm();
    path.clock.run(60_000);
    expect([path.used, Math.max(...path.probed)]).toEqual([[1250], 1250]);
  });

  it("that is larger is used as far as the path takes it", () => {
    for (const takes of [1450, 4000, 8950]) {
      const path = new Path();
      path.takes = takes;
      path.prober.resize({ least: LEAST, most: 8950 });
      path.prober.confirm();
      expect(path.prober.size).toBe(MOST);
      path.until(takes);
      path.clock.run(60_000);
      expect(path.prober.size).toBe(takes);
    }
  });

  it("and one below what every path takes is the least", () => {
    const path = new Path();
    path.prober.resize({ least: LEAST, most: 506 });
    path.prober.confirm(300);
    path.clock.run(60_000);
    expect([path.prober.size, Math.max(...path.probed)]).toEqual([506, 506]);
  });
});

describe("packets that take another path", () => {
  it("are held against it at once, in both directions", () => {
    const path = new Path();
    path.takes = 1000;
    path.moved();
    expect(path.until(1000)).toBeLessThan(3_000);
    path.takes = MOST;
    path.moved();
    expect(path.until(MOST)).toBeLessThanOrEqual(RAISE_AFTER + 1_000);
  });
});

describe("loss", () => {
  it.each([0.05, 0.2, 0.4])("of %d of the probes hardly ever looks like a narrow path", (loss) => {
    let mistakes = 0;
    for (let n = 0; n < 1_000; n++) {
      const path = new Path(seed + n);
      path.loss = loss;
      path.prober.confirm(526);
      path.clock.run(RAISE_AFTER - 1_000);
      if (path.prober.size !== MOST) mistakes++;
    }
    expect(mistakes, `WEFT_SEED=${seed}`).toBeLessThanOrEqual(loss > 0.3 ? 10 : 5);
  });

  it("that did look like one is mended a few seconds later", () => {
    const path = new Path();
    path.loss = 0.99;
    path.prober.confirm(526);
    path.clock.run(10_000);
    path.loss = 0;
    expect(path.until(MOST, RAISE_EVERY)).toBeLessThanOrEqual(4 * RAISE_AFTER);
  });

  it("of answers that come late is none", () => {
    const path = new Path();
    path.responseMs = 600;
    path.prober.confirm(526);
    path.responseMs = 1_500; // The prober has not measured this round trip yet.
    path.clock.run(5_000);
    expect(path.prober.size).toBe(MOST);
  });

  it("and narrowing, hints and widening in any order end in what the path takes", () => {
    for (let n = 0; n < 200; n++) {
      const random = randomFrom(seed + n);
      const path = new Path(seed + n);
      path.loss = random() * 0.3;
      for (let step = 0; step < 20; step++) {
        path.takes = LEAST + Math.floor(random() * (MOST - LEAST + 1));
        if (random() < 0.3) path.moved();
        else path.prober.confirm(random() < 0.5 ? path.takes : Math.floor(random() * 2_000));
        path.clock.run(random() * 5_000);
      }
      path.loss = 0;
      path.clock.run(20_000);
      path.moved();
      path.clock.run(20_000);
      expect(path.prober.size, `WEFT_SEED=${seed + n}`).toBe(path.takes);
    }
  });
});
