import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { memoryPair } from "../../src/io/memory.js";

describe("a pair of memory devices", () => {
  it("what one end sends, the other hears, in order", async () => {
    const [a, b] = memoryPair();
    const heard: number[] = [];
    b.onPacket((packet) => heard.push(packet[0]!));
    for (let i = 0; i < 100; i++) a.send(Uint8Array.of(i));
    await turn();
    expect(heard).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it("hands over a copy: the sender may use its buffer again", async () => {
    const [a, b] = memoryPair();
    const heard = new Promise<Uint8Array>((resolve) => b.onPacket(resolve));
    const buffer = Uint8Array.of(1);
    a.send(buffer);
    buffer[0] = 2;
    expect([...(await heard)]).toEqual([1]);
  });

  it("two ends that answer each other for ever leave time for everything else", async () => {
    const [a, b] = memoryPair();
    let count = 0;
    a.onPacket((packet) => {
      count++;
      a.send(packet);
    });
    b.onPacket((packet) => b.send(packet));
    a.send(Uint8Array.of(1));
    await once(AbortSignal.timeout(5), "abort");
    a.close();
    expect(count).toBeGreaterThan(1);
  });

  it("counts what is sent after either end closed, and tells the other end once", async () => {
    const [a, b] = memoryPair();
    let ends = 0;
    b.onEnd(() => ends++);
    a.close();
    a.close();
    a.send(Uint8Array.of(1));
    b.send(Uint8Array.of(1));
    await turn();
    expect({ a: a.lost, b: b.lost, ends }).toEqual({ a: 1, b: 1, ends: 1 });
  });

  it("refuses what no IP packet can be", () => {
    const [a] = memoryPair();
    expect(() => a.send(new Uint8Array(65536))).toThrow(RangeError);
  });
});
