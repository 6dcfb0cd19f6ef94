/** One case through the dataplane: what it sends, what it delivers, what it counts. */
import { type Counters, Dataplane } from "weft";
import { type Case, PEERS, US } from "./cases.js";
import { onTheWire } from "./pcap.js";

export interface Result {
  /** As captured on the underlay. */
  readonly wire: Uint8Array[];
  /** IP packets to the device. */
  readonly device: Uint8Array[];
  readonly counters: Counters;
}

export async function run({ device, wire, order, policies = [], flows }: Case): Promise<Result> {
  const dataplane = await Dataplane.create({ ...US, ...(flows && { flows }) });
  dataplane.setPeers(PEERS);
  const [outward, inward, rules] = [device.values(), wire.values(), policies.values()];
  const turns = order ?? "d".repeat(device.length) + "w".repeat(wire.length);
  const outcomes = [...turns].flatMap((turn) => {
    if (turn === "d") return dataplane.fromDevice(outward.next().value!);
    if (turn === "p") {
      dataplane.setPolicy(rules.next().value!);
      return [];
    }
    const { from, data, tos } = inward.next().value!;
    return dataplane.fromWire(data, from, tos === undefined ? {} : { tos });
  });
  return {
    wire: outcomes.flatMap(({ datagrams }) =>
      datagrams.map(({ to, bytes, tos }) => onTheWire(US.underlay, to, bytes, tos)),
    ),
    device: outcomes.flatMap(({ packets }) => packets),
    counters: dataplane.counters(),
  };
}
