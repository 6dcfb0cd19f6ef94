import { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { DuplexDevice, MAX_QUEUED } from "../../src/io/duplex.js";

/** Two object-mode streams, each other's far side, as a TUN library would give one of them. */
function streamPair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      objectMode: true,
      read() {},
      write(chunk, _encoding, done) {
        other().push(chunk);
        done();
      },
    });
  const a: Duplex = make(() => b);
  const b: Duplex = make(() => a);
  return [a, b];
}

const next = (stream: Duplex) => new Promise<Uint8Array>((resolve) => stream.once("data", resolve));
const packet = (device: DuplexDevice) =>
  new Promise<Uint8Array>((resolve) => device.onPacket(resolve));

const V4 = Uint8Array.of(0x45, 1, 2, 3, 4);
const V6 = Uint8Array.of(0x60, 1, 2, 3, 4);

describe("a Duplex as the device", () => {
  it("takes each chunk as a packet and writes each packet as a chunk", async () => {
    const [far, near] = streamPair();
    const device = new DuplexDevice(near);
    const heard = packet(device);
    far.write(V4);
    expect([...(await heard)]).toEqual([...V4]);
    device.send(V6);
    expect([...(await next(far))]).toEqual([...V6]);
  });

  it.each([
    [V4, [0, 0, 0x08, 0x00]],
    [V6, [0, 0, 0x86, 0xdd]],
  ])("with packet information, takes four bytes off and puts them on", async (bytes, before) => {
    const [far, near] = streamPair();
    const device = new DuplexDevice(near, { packetInformation: true });
    const heard = packet(device);
    far.write(Uint8Array.of(...before, ...bytes));
    expect([...(await heard)]).toEqual([...bytes]);
    device.send(bytes);
    expect([...(await next(far))]).toEqual([...before, ...bytes]);
  });

  it("loses and counts what a stalled stream does not take, instead of keeping it", () => {
    const stalled = new Duplex({ objectMode: true, read() {}, write() {} });
    const device = new DuplexDevice(stalled);
    for (let i = 0; i < MAX_QUEUED + 5; i++) device.send(V4);
    expect(device.lost).toBe(5);
    expect(stalled.writableLength).toBe(MAX_QUEUED);
  });

  it.each([
    ["text", "not bytes"],
    ["a chunk longer than any IP packet", new Uint8Array(65536)],
  ])("ends with an error when it gives %s", async (_what, chunk) => {
    const [far, near] = streamPair();
    const device = new DuplexDevice(near);
    const ended = new Promise<Error | undefined>((resolve) => device.onEnd(resolve));
    device.onPacket(() => expect.unreachable());
    far.write(chunk);
    expect((await ended)?.message).toContain("no IP packet");
    device.send(V4);
    expect(device.lost).toBe(1);
  });

  it("tells of its end once, with the error when there was one", async () => {
    for (const error of [undefined, new Error("unplugged")]) {
      const [, near] = streamPair();
      const ends: (Error | undefined)[] = [];
      const device = new DuplexDevice(near);
      const ended = new Promise<void>((resolve) => {
        device.onEnd((cause) => {
          ends.push(cause);
          resolve();
        });
      });
      near.destroy(error);
      await ended;
      expect(ends).toEqual([error]);
    }
  });
});
