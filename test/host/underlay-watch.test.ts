import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { inside, onHosts } from "./inside.js";

/** A watch that records its moves; `refuse` makes a move fail. */
const WATCH = `
  const { findUnderlay } = await weft("host/underlay.js");
  const { UnderlayWatch } = await weft("host/underlay-watch.js");
  const { change } = await weft("host/ip.js");
  const { WeftError } = await weft("error.js");
  const { formatAddress } = await weft("address.js");
  const moves = [];
  const seen = [];
  let refuse = false;
  let isHeard = true;
  let peers = [];
  const watching = async (given) =>
    new UnderlayWatch(given, await findUnderlay({ address: given }), {
      peers: async () => peers.map(address),
      isHeard: () => isHeard,
      move: async ({ address }) => {
        if (refuse) throw new WeftError("TEST", "it is refused", "wait");
        moves.push(formatAddress(address));
      },
      resize: ({ mtu }) => moves.push(mtu),
    });
  const look = async (watch) => {
    await watch.check();
    seen.push([formatAddress(watch.underlay.address), watch.problem ?? ""]);
  };`;

onHosts("a watch of the underlay", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab?.close());

  it("moves once to another address, and only when there is another", async () => {
    const host = await lab.host("a");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      await look(watch);
      await change(["addr add 198.51.100.7/24 dev eth0", "addr del ${host.address}/24 dev eth0"]);
      await Promise.all([watch.check(), watch.check()]);
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: ["198.51.100.7"],
      seen: [
        [host.address, ""],
        ["198.51.100.7", ""],
      ],
    });
  });

  /** A host whose default route is moved to a VPN, as the usual clients do it. */
  const withVpn = `
    await change([
      "link add vpn0 mtu 1420 type veth peer name server",
      "link set server addrgenmode none up",
      "link set vpn0 addrgenmode none up",
      "addr add 10.99.0.2/24 dev vpn0",
      "route add 0.0.0.0/1 dev vpn0",
      "route add 128.0.0.0/1 dev vpn0",
    ]);`;

  it("stays while the host has the address and peers answer, whatever routes come up", async () => {
    const host = await lab.host("vpn");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      ${withVpn}
      peers = ["198.51.100.1"];
      await look(watch);
      await change(["route del default dev eth0"]);
      await look(watch);
      return { moves: moves.filter((it) => typeof it === "string"), seen };`,
    );
    expect(value).toEqual({
      moves: [],
      seen: [
        [host.address, ""],
        [host.address, ""],
      ],
    });
  });

  it("stays where the only peer with a route says that it is at another address of this host", async () => {
    const host = await lab.host("cut");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      await change([
        "link add docker0 type veth peer name box",
        "link set docker0 addrgenmode none up",
        "addr add 172.17.0.1/16 dev docker0",
        "link set eth0 down",
      ]);
      isHeard = false;
      peers = ["172.17.0.1", "192.0.2.200"];
      await look(watch);
      await change(["link set eth0 up"]);
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: [],
      seen: [
        [host.address, ""],
        [host.address, ""],
      ],
    });
  });

  it("moves where no peer answers and the routes to the peers prefer another address", async () => {
    const host = await lab.host("silent");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      ${withVpn}
      isHeard = false;
      peers = ["192.0.2.200"];
      await look(watch);
      peers = ["2001:db8:1::99"];
      await change(["route del 0.0.0.0/1 dev vpn0", "route del 128.0.0.0/1 dev vpn0", "route del default dev eth0"]);
      await look(watch);
      await change(["route add default dev vpn0"]);
      peers = ["192.0.2.200", "198.51.100.1", "198.51.100.2"];
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: ["10.99.0.2"],
      seen: [
        [host.address, ""],
        [host.address, ""],
        ["10.99.0.2", ""],
      ],
    });
  });

  it("does not take an address that is renewed for one that is gone", async () => {
    const host = await lab.host("renewed");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      const out = ["addr add 198.51.100.7/24 dev eth0", "addr del ${host.address}/24 dev eth0"];
      for (let i = 0; i < 3; i++) {
        await change(out);
        await look(watch);
        await change(["addr add ${host.address}/24 dev eth0", "addr del 198.51.100.7/24 dev eth0", "route replace default dev eth0"]);
        await look(watch);
      }
      return { moves, places: [...new Set(seen.map(String))] };`,
    );
    expect(value).toEqual({ moves: [], places: [`${host.address},`] });
  });

  it("follows the MTU of the routes to the peers", async () => {
    const host = await lab.host("sizes");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching(address("${host.address}"));
      peers = ["192.0.2.200"];
      for (const mtu of [1400, 1400, 9000]) {
        await change(["link set eth0 mtu " + mtu]);
        await watch.check();
      }
      await change(["route add 192.0.2.200 dev eth0 mtu 1300"]);
      await watch.check();
      return { moves, mtu: watch.underlay.mtu };`,
    );
    expect(value).toEqual({ moves: [1400, 9000, 1300], mtu: 1300 });
  });

  it("tries again when there is no other address yet, or the new one is refused", async () => {
    const host = await lab.host("b");
    const { value } = await inside(
      host,
      `${WATCH}
      await change(["route add default dev eth0"]);
      const watch = await watching();
      await change([
        "route del default dev eth0",
        "addr add 198.51.100.8/24 dev eth0",
        "addr del ${host.address}/24 dev eth0",
      ]);
      await look(watch);
      await look(watch);
      await change(["route add default dev eth0"]);
      refuse = true;
      await look(watch);
      refuse = false;
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: ["198.51.100.8"],
      seen: [
        [host.address, ""],
        [host.address, expect.stringContaining("nor a default route")],
        [host.address, "it is refused: wait"],
        ["198.51.100.8", ""],
      ],
    });
  });

  it("never leaves an address that was given, but says that it is gone", async () => {
    const host = await lab.host("c");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching(address("${host.address}"));
      await change(["addr add 198.51.100.9/24 dev eth0", "addr del ${host.address}/24 dev eth0"]);
      await look(watch);
      await change(["addr add ${host.address}/24 dev eth0"]);
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: [],
      seen: [
        [host.address, expect.stringContaining(`has the underlay address ${host.address}`)],
        [host.address, ""],
      ],
    });
  });
});
