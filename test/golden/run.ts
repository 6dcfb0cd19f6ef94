/** One case through the dataplane: what it sends, what it delivers, what it counts. */
import { type Counters, Dataplane } from "weft";
import { type Arrival, type Case, PEERS, type Turn, US } from "./cases.js";
import { onTheWire } from "./pcap.js";

export interface Result {
  /** The input: IP packets from the device, and datagrams. */
  readonly given: { readonly device: Uint8Array[]; readonly wire: Arrival[] };
  /** As captured on the underlay. */
  readonly wire: Uint8Array[];
  /** IP packets to the device. */
  readonly device: Uint8Array[];
  readonly counters: Counters;
}

export async function run(one: Case): Promise<Result> {
  const { device, wire, order, policies = [], translations = [], flows } = one;
  const dataplane = await Dataplane.create({ ...US, ...(flows && { flows }) });
  dataplane.setPeers(PEERS);
  const [outward, inward] = [device.values(), wire.values()];
  const [rules, documents] = [policies.values(), translations.values()];
  const turns = order ?? "d".repeat(device.length) + "w".repeat(wire.length);
  const given: Result["given"] = { device: [], wire: [] };
  let last: Uint8Array = new Uint8Array(0);
  const outcomes = [...turns].flatMap((turn) => {
    if (turn === "p") dataplane.setPolicy(rules.next().value!);
    if (turn === "n") dataplane.setNat(documents.next().value!);
    if (turn === "p" || turn === "n") return [];
    const outcome = turn === "d" ? fromDevice() : fromWire();
    last = outcome.packets[0] ?? outcome.datagrams[0]?.bytes.subarray(ENCAP_SIZE) ?? last;
    return outcome;
  });
  function fromDevice() {
    const packet = taken(outward.next().value!, last);
    given.device.push(packet);
    return dataplane.fromDevice(packet);
  }
  function fromWire() {
    const arrival = taken(inward.next().value!, last);
    given.wire.push(arrival);
    const { from, data, tos } = arrival;
    return dataplane.fromWire(data, from, tos === undefined ? {} : { tos });
  }
  return {
    given,
    wire: outcomes.flatMap(({ datagrams }) =>
      datagrams.map(({ to, bytes, tos }) => onTheWire(US.underlay, to, bytes, tos)),
    ),
    device: outcomes.flatMap(({ packets }) => packets),
    counters: dataplane.counters(),
  };
}

/** Bytes of the VXLAN and Ethernet headers. */
const ENCAP_SIZE = 22;

const taken = <T extends object>(turn: Turn<T>, last: Uint8Array): T =>
  typeof turn === "function" ? turn(last) : turn;
