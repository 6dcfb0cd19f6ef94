/** Sends the same batch again and again until it is told to stop, as the agent's worker would; says how the packets ended. */
import { parentPort, workerData } from "node:worker_threads";

const { module, memory, layout, packets, shared } = workerData;
// Words of `shared`.
const STOP = 0;
const BATCHES = 1;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer);
const delivered = packets.map(() => 0);

while (Atomics.load(shared, STOP) === 0) {
  packets.forEach((packet, i) => {
    const ip = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packet, ip);
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + packet.length, true);
  });
  exports.outbound(0, packets.length);
  packets.forEach((_, i) => {
    const at = layout.PACKETS + i * layout.PACKET_SIZE + layout.PACKET_VERDICT;
    if (view.getInt32(at, true) === 0) delivered[i]++;
  });
  exports.finishBatch(layout.OUT);
  Atomics.add(shared, BATCHES, 1);
  Atomics.notify(shared, BATCHES);
}
parentPort.postMessage(delivered);
