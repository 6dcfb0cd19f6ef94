/**
 * Sends one batch after another until it is told to stop, as the agent's worker would, while
 * another thread looks on. Each packet has its number in every word of its payload.
 */
import { parentPort, workerData } from "node:worker_threads";

const { module, memory, layout, packets, payload, shared } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer);
let number = 0;

while (Atomics.load(shared, 0) === 0) {
  for (const [i, packet] of packets.entries()) {
    const ip = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packet, ip);
    for (let at = payload; at < packet.length; at += 4) view.setUint32(ip + at, number, true);
    number++;
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + packet.length, true);
  }
  exports.outbound(0, packets.length);
  exports.finishBatch(layout.OUT);
}
parentPort.postMessage(number);
