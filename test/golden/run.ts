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

export async function run({ device, wire }: Case): Promise<Result> {
  const dataplane = await Dataplane.create(US);
  dataplane.setPeers(PEERS);
  const outcomes = [
    ...device.map((packet) => dataplane.fromDevice(packet)),
    ...wire.map(({ from, data }) => dataplane.fromWire(data, from)),
  ];
  return {
    wire: outcomes.flatMap(({ datagrams }) =>
      datagrams.map(({ to, bytes }) => onTheWire(US.underlay, to, bytes)),
    ),
    device: outcomes.flatMap(({ packets }) => packets),
    counters: dataplane.counters(),
  };
}
