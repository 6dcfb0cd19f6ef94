import { execFileSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { constants } from "node:os";
import { afterEach, expect, it } from "vitest";
import { close } from "../../src/io/libc.js";
import { openTun } from "../../src/io/tun.js";
import { holdPort, openUdp, SOCKET_BUFFER } from "../../src/io/udp.js";
import { inOwnNetwork, ip } from "./own-network.js";
import { icmp, ipv4, octets } from "./packets.js";
import { readUntil, sendNow, writeNow } from "./system.js";

inOwnNetwork("the UDP socket", () => {
  const open: number[] = [];
  const keep = (fd: number): number => {
    open.push(fd);
    return fd;
  };
  afterEach(() => {
    for (const fd of open.splice(0)) close(fd);
  });

  const refused = (code: string) => expect.objectContaining({ code });

  it("says so when the address and port are taken", () => {
    keep(openUdp("127.0.0.1", 4789));
    expect(() => openUdp("127.0.0.1", 4789)).toThrow(refused("UDP_IN_USE"));
    keep(openUdp("127.0.0.2", 4789));
  });

  // Whoever has the port at one address can send from all others of the host, by IP_PKTINFO.
  it("leaves its port to no other user of the host, at no address", async () => {
    const others = ["127.0.0.2", "::1", "::ffff:127.0.0.2", "0.0.0.0", "::"];
    expect(takenByOther(others)).toEqual(others.map(() => true));
    keep(holdPort(4789));
    const fd = keep(openUdp("127.0.0.1", 4789, { isHeld: true }));
    expect(takenByOther(others)).toEqual(others.map(() => false));
    const moved = keep(openUdp("127.0.0.3", 4789, { isHeld: true }));
    expect(takenByOther(others)).toEqual(others.map(() => false));

    for (const [own, address] of [
      [fd, "127.0.0.1"],
      [moved, "127.0.0.3"],
    ] as const) {
      const { socket } = await listener("127.0.0.1", 4791);
      socket.send("for this one", 4789, address);
      expect((await readUntil(own, () => true)).toString()).toBe("for this one");
      socket.close();
    }
  });

  it("says so when another program has the port at another address", async () => {
    const { socket } = await listener("127.0.0.2", 4789);
    expect(() => holdPort(4789)).toThrow(refused("UDP_IN_USE"));
    socket.close();
  });

  it("says so when a kernel vxlan device has the port", () => {
    ip("link", "add", "vx0", "type", "vxlan", "id", "1", "dstport", "4789", "dev", "lo");
    ip("link", "set", "vx0", "up");
    expect(() => openUdp("127.0.0.1", 4789)).toThrow(refused("UDP_IN_USE"));
    ip("link", "del", "vx0");
  });

  it("says so when this host has no such address", () => {
    expect(() => openUdp("192.0.2.77", 4789)).toThrow(refused("UDP_ADDRESS"));
    expect(() => openUdp("2001:db8::77", 4789)).toThrow(refused("UDP_ADDRESS"));
  });

  it("has room for a burst", () => {
    keep(openUdp("127.0.0.1", 4790));
    const sockets = execFileSync("ss", ["-Huanm", "sport", "=", "4790"], { encoding: "utf8" });
    expect(sockets).toContain(`rb${2 * SOCKET_BUFFER}`); // the kernel doubles it for its own needs
    expect(sockets).toContain(`tb${2 * SOCKET_BUFFER}`);
  });

  it("reports an unreachable port at its next send, once", async () => {
    const fd = keep(openUdp("127.0.0.1", 4789));
    const send = () => sendNow(fd, octets("127.0.0.1"), 9, Buffer.from("nobody"));
    expect([send(), send()]).toEqual([0, constants.errno.ECONNREFUSED]);
    const { socket, heard } = await listener("127.0.0.1", 4791);
    expect(sendNow(fd, octets("127.0.0.1"), 4791, Buffer.from("somebody"))).toBe(0);
    expect(await heard).toBe("somebody");
    socket.close();
  });

  it("sends with DF, whole or not at all, and no forged ICMP makes it send less", async () => {
    const tun = keep(openTun("wu0").fd);
    ip("addr", "add", "198.51.100.1/24", "dev", "wu0");
    ip("link", "set", "wu0", "mtu", "1500", "up");
    const fd = keep(openUdp("198.51.100.1", 4789));
    const peer = octets("198.51.100.2");
    const send = (size: number) => sendNow(fd, peer, 4789, Buffer.alloc(size));
    const sent = async (size: number) =>
      (await readUntil(tun, (bytes) => bytes.length === 10 + 28 + size)).subarray(10);

    expect(send(1472)).toBe(0);
    const packet = await sent(1472);
    expect(packet.readUInt16BE(6)).toBe(0x4000); // DF, and no fragment
    expect(send(1473)).toBe(constants.errno.EMSGSIZE);

    const forged = icmp(3, 4, 576, packet.subarray(0, 28));
    const answer = ipv4("198.51.100.2", "198.51.100.1", 1, forged);
    expect(writeNow(tun, Buffer.concat([Buffer.alloc(10), answer]))).toBe(0);
    expect(send(1471)).toBe(constants.errno.EMSGSIZE); // told once, of the earlier datagram
    expect(send(1471)).toBe(0);
    expect((await sent(1471)).readUInt16BE(6)).toBe(0x4000);
  });

  /** Whether uid 65534 can have the port there, sharing it if it may. */
  const takenByOther = (addresses: string[]): boolean[] =>
    addresses.map((address) => {
      const program = `const { createSocket } = require("node:dgram");
        const socket = createSocket({ type: "${address.includes(":") ? "udp6" : "udp4"}", reuseAddr: true });
        socket.on("error", () => { console.log(false); socket.close(); });
        socket.bind(4789, "${address}", () => { console.log(true); socket.close(); });`;
      const options = { uid: 65534, gid: 65534, encoding: "utf8", cwd: "/" } as const;
      return execFileSync(process.execPath, ["-e", program], options).trim() === "true";
    });

  async function listener(
    address: string,
    port: number,
  ): Promise<{ socket: Socket; heard: Promise<string> }> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(port, address, resolve));
    const heard = new Promise<string>((resolve) =>
      socket.once("message", (text) => resolve(String(text))),
    );
    return { socket, heard };
  }
});
