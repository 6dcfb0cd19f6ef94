import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { inside, onHosts } from "./inside.js";

/** A watch that tells where it moved; `refuse` makes it fail to. */
const WATCH = `
  const { findUnderlay } = await weft("host/underlay.js");
  const { UnderlayWatch } = await weft("host/underlay-watch.js");
  const { change } = await weft("host/ip.js");
  const { WeftError } = await weft("error.js");
  const { formatAddress } = await weft("address.js");
  const moves = [];
  const seen = [];
  let refuse = false;
  const watching = async (given) =>
    new UnderlayWatch(given, await findUnderlay(given), async ({ address }) => {
      if (refuse) throw new WeftError("TEST", "it is refused", "wait");
      moves.push(formatAddress(address));
    });
  const look = async (watch) => {
    await watch.look();
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
      await Promise.all([watch.look(), watch.look()]);
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

  it("stays where it is when there is none, or the new one is refused, and tries again", async () => {
    const host = await lab.host("b");
    await host.ip("route add default dev eth0");
    const { value } = await inside(
      host,
      `${WATCH}
      const watch = await watching();
      await change(["route del default dev eth0"]);
      await look(watch);
      await change([
        "route add default dev eth0",
        "addr add 198.51.100.8/24 dev eth0",
        "addr del ${host.address}/24 dev eth0",
      ]);
      refuse = true;
      await look(watch);
      refuse = false;
      await look(watch);
      return { moves, seen };`,
    );
    expect(value).toEqual({
      moves: ["198.51.100.8"],
      seen: [
        [host.address, expect.stringContaining("no default route")],
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
        [host.address, expect.stringContaining(`carries the underlay address ${host.address}`)],
        [host.address, ""],
      ],
    });
  });
});
