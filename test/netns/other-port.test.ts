/** A local user of a peer's host sends VXLAN from a port of its own: the peer's packets come from another. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ipv4, udp, vxlan } from "../packets.js";
import { allAnswer, cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const COUNT = 20;
/** Sends the datagram in hex to the VXLAN port of this host, so often. */
const SEND = `
  const [hex, to, count] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket("udp4");
  let left = Number(count);
  const next = () => left-- > 0
    ? socket.send(Buffer.from(hex, "hex"), 4789, to, () => setTimeout(next, 5))
    : socket.close();
  next();
`;
const NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

story("an unprivileged process on a peer's host", () => {
  let lab: Lab;
  let a: Node;
  let b: Node;
  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = (await cluster(lab, ["a", "b"])) as [Node, Node];
  });
  afterAll(() => lab?.close());

  const dropped = async (): Promise<number> => {
    const counters = await a.agent.get<{ in: { dropped: Record<string, number> } }>("/v1/counters");
    return counters?.in.dropped["unknown-peer"] ?? 0;
  };

  it("cannot send packets as an address of that host", async () => {
    await allAnswer([a, b]);
    const [src, dst] = [b.status.address, a.status.address];
    const packet = ipv4({ src, dst, protocol: 17, payload: udp(src, dst, Buffer.from("forged")) });
    const before = await dropped();
    const hex = Buffer.from(vxlan(packet)).toString("hex");
    const send = [process.execPath, "-e", SEND, hex, a.host.address, `${COUNT}`];
    await b.host.exec([...NOBODY, ...send]);
    await expect.poll(dropped).toBe(before + COUNT);
    await allAnswer([a, b]);
  });
});
