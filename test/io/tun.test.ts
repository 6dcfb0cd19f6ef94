import { createSocket } from "node:dgram";
import { constants } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { close, errno } from "../../src/io/libc.js";
import { openTun } from "../../src/io/tun.js";
import { inOwnNetwork, ip } from "./own-network.js";
import { ipv4, octets, udp } from "./packets.js";
import { readNow, readUntil, writeNow } from "./system.js";

describe("openTun", () => {
  const names = ["", "a/b", "..", "-rf", "tun%d", "sixteen-letters-", "a b", "é", "x\n", "a:1"];
  it.each(names)("refuses the name %j before it touches the kernel", (name) => {
    expect(() => openTun(name)).toThrow(expect.objectContaining({ code: "TUN_NAME" }));
  });
});

inOwnNetwork("a TUN device", () => {
  const VIRTIO = 10;
  const NEEDS_CSUM = 1;
  const IPV4 = 0x45;
  const open: number[] = [];

  /** A device that is up, 10.9.0.1, with 10.9.0.0/24 behind it. */
  function device(name: string): number {
    const { fd } = openTun(name);
    open.push(fd);
    ip("addr", "add", "10.9.0.1/24", "dev", name);
    ip("link", "set", name, "up");
    return fd;
  }
  afterEach(() => {
    for (const fd of open.splice(0)) close(fd);
  });

  it("exists while its descriptor is open, and no longer", () => {
    const { fd } = openTun("wt0");
    expect(ip("-o", "link", "show", "wt0")).toContain("wt0");
    close(fd);
    expect(() => ip("link", "show", "wt0")).toThrow("does not exist");
  });

  it("is refused where another TUN device has the name", () => {
    device("wt1");
    expect(() => openTun("wt1")).toThrow(expect.objectContaining({ code: "TUN_BUSY" }));
  });

  it("is refused where a device of another kind, or a lasting TUN device, has the name", () => {
    ip("link", "add", "wt2", "type", "bridge");
    ip("tuntap", "add", "dev", "wt3", "mode", "tun");
    for (const name of ["wt2", "wt3"]) {
      expect(() => openTun(name)).toThrow(expect.objectContaining({ code: "TUN_BUSY" }));
      expect(ip("link", "show", name)).toContain(name);
    }
  });

  it("gives what the host sends behind a virtio-net header, checksum unfinished", async () => {
    const fd = device("wt4");
    const socket = createSocket("udp4");
    socket.send("hello", 7, "10.9.0.2");
    const bytes = await readUntil(fd, (packet) => packet[VIRTIO] === IPV4);
    socket.close();
    const [flags, csumStart, csumOffset] = [bytes[0], bytes.readUInt16LE(6), bytes.readUInt16LE(8)];
    expect({ flags, csumStart, csumOffset }).toEqual({
      flags: NEEDS_CSUM,
      csumStart: 20,
      csumOffset: 6,
    });
    const packet = bytes.subarray(VIRTIO);
    expect([...packet.subarray(16, 20)]).toEqual(octets("10.9.0.2"));
    expect(packet.subarray(28).toString()).toBe("hello");
  });

  it("hands to the host what is written behind a virtio-net header", async () => {
    const fd = device("wt5");
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(5555, "10.9.0.1", resolve));
    const heard = new Promise((resolve) => socket.once("message", (text) => resolve(String(text))));
    const packet = ipv4("10.9.0.2", "10.9.0.1", 17, udp(7, 5555, Buffer.from("from afar")));
    expect(writeNow(fd, Buffer.concat([Buffer.alloc(VIRTIO), packet]))).toBe(0);
    expect(await heard).toBe("from afar");
    socket.close();
  });

  it("says EIO to a write while it is down, nothing to a read, and EBADFD once removed", () => {
    const fd = device("wt6");
    const nothing = Buffer.alloc(VIRTIO + 20);
    nothing[VIRTIO] = IPV4;
    ip("link", "set", "wt6", "down");
    expect(writeNow(fd, nothing)).toBe(constants.errno.EIO);
    while (readNow(fd) !== undefined);
    expect(errno()).toBe(constants.errno.EAGAIN);
    ip("link", "del", "wt6");
    expect(writeNow(fd, nothing)).toBe(77);
  });
});
