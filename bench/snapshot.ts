/**
 * The size of a snapshot of a dataplane, and the time to take and to restore it.
 *
 *     npm run bench:snapshot
 */
import { Dataplane } from "../src/index.js";
import { ipv4, UDP, udp } from "../test/packets.js";
import { describeMachine, machine } from "./machine.js";
import { quantile } from "./statistics.js";
import { table } from "./table.js";

const CONNECTIONS = [0, 1000, 10_000, 30_000];
const TIMES = 9;

async function dataplaneWith(connections: number): Promise<Dataplane> {
  const dp = await Dataplane.create({
    vni: 1,
    mac: "02:00:00:00:00:01",
    mtu: 1450,
    address: "10.244.1.1",
    leases: ["10.244.1.0/24"],
    underlay: "192.0.2.1:4789",
  });
  const b = { name: "b", endpoint: "192.0.2.2:4789", mac: "02:00:00:00:00:02" };
  dp.setPeers([{ ...b, leases: ["10.244.2.0/24"] }]);
  const [src, dst] = ["10.244.1.1", "10.244.2.1"];
  for (let i = 0; i < connections; i++) {
    const payload = udp(src, dst, new Uint8Array(8), { sport: 1024 + i, dport: 53 });
    dp.fromDevice(ipv4({ src, dst, protocol: UDP, payload }));
  }
  return dp;
}

function medianOf(work: () => void): number {
  const times = Array.from({ length: TIMES }, () => {
    const before = performance.now();
    work();
    return performance.now() - before;
  });
  return quantile(times, 0.5);
}

const rows: string[][] = [["connections", "bytes", "taken in ms", "restored in ms"]];
for (const connections of CONNECTIONS) {
  const dp = await dataplaneWith(connections);
  const taken = dp.snapshot();
  const take = medianOf(() => dp.snapshot());
  const restore = medianOf(() => dp.restore(taken));
  const found = dp.flows().length.toLocaleString("en");
  rows.push([found, taken.length.toLocaleString("en"), take.toFixed(1), restore.toFixed(1)]);
}
console.log(describeMachine(machine()));
console.log(table(rows).join("\n"));
