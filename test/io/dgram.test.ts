import { afterEach, describe, expect, it } from "vitest";
import { DgramUnderlay } from "../../src/io/dgram.js";
import { close } from "../../src/io/libc.js";
import { openTun } from "../../src/io/tun.js";
import { inOwnNetwork, ip } from "./own-network.js";
import { ipv4, udp } from "./packets.js";
import { writeNow } from "./system.js";

const open: DgramUnderlay[] = [];
async function underlay(address: string, port = 0): Promise<DgramUnderlay> {
  const made = await DgramUnderlay.open(address, port);
  open.push(made);
  return made;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((made) => made.close()));
});

const heardBy = (made: DgramUnderlay) =>
  new Promise<{ text: string; from: string }>((resolve) =>
    made.onDatagram((datagram, from) => resolve({ text: Buffer.from(datagram).toString(), from })),
  );
const refused = (code: string) => expect.objectContaining({ code });

describe("Node's UDP socket as the underlay", () => {
  it.each(["127.0.0.1", "::1"])(
    "carries datagrams on %s and says where they are from",
    async (address) => {
      const [a, b] = [await underlay(address), await underlay(address)];
      const heard = heardBy(b);
      a.send(b.endpoint, Buffer.from("hello"));
      expect(await heard).toEqual({ text: "hello", from: a.endpoint });
      expect(a.lost).toBe(0);
    },
  );

  it("says so when it cannot have the address", async () => {
    const taken = await underlay("127.0.0.1");
    const port = Number(taken.endpoint.split(":")[1]);
    await expect(underlay("127.0.0.1", port)).rejects.toThrow(refused("UDP_IN_USE"));
    await expect(underlay("192.0.2.77")).rejects.toThrow(refused("UDP_ADDRESS"));
    await expect(underlay("010.0.0.1")).rejects.toThrow(refused("ADDRESS"));
  });

  it("counts what the kernel does not send, and goes on", async () => {
    const [a, b] = [await underlay("127.0.0.1"), await underlay("127.0.0.1")];
    const heard = heardBy(b);
    a.send(b.endpoint, Buffer.alloc(65_508)); // one byte more than UDP over IPv4 can carry
    a.send(b.endpoint, Buffer.from("still here"));
    expect((await heard).text).toBe("still here");
    expect(a.lost).toBe(1);
  });

  it("counts what is sent after it closed", async () => {
    const a = await underlay("127.0.0.1");
    await a.close();
    a.send("127.0.0.1:9", Buffer.from("late"));
    expect(a.lost).toBe(1);
    await a.close();
  });

  it("tells of its end", async () => {
    const a = await underlay("127.0.0.1");
    const ended = new Promise((resolve) => a.onEnd(resolve));
    await a.close();
    expect(await ended).toBe(undefined);
  });
});

inOwnNetwork("the same, against datagrams nobody sends by mistake", () => {
  it("a datagram from port 0 is counted and goes no further", async () => {
    const { fd: tun } = openTun("wd0");
    ip("addr", "add", "10.9.0.1/24", "dev", "wd0");
    ip("link", "set", "wd0", "up");
    const a = await underlay("10.9.0.1", 4789);
    const heard = heardBy(a);
    for (const port of [0, 7]) {
      const datagram = udp(port, 4789, Buffer.from(`from port ${port}`));
      const packet = ipv4("10.9.0.2", "10.9.0.1", 17, datagram);
      expect(writeNow(tun, Buffer.concat([Buffer.alloc(10), packet]))).toBe(0);
    }
    expect(await heard).toEqual({ text: "from port 7", from: "10.9.0.2:7" });
    expect(a.lost).toBe(1);
    close(tun);
  });
});
