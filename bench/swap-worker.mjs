/** Runs batches for some seconds and says how long each took. Plain JavaScript: tsx does not reach workers. */
import { parentPort, workerData } from "node:worker_threads";
import { Core } from "../dist/core/instance.js";

const { module, memory, packets, seconds } = workerData;
const core = Core.share(module, memory);
const { layout, view, bytes, exports } = core;

exports.prepareReceive();
const took = [];
const end = performance.now() + seconds * 1000;
for (let now = performance.now(); now < end; ) {
  fill();
  now = performance.now();
  exports.outbound(0, packets.length);
  exports.finishBatch(layout.OUT);
  took.push((performance.now() - now) * 1000);
}
parentPort.postMessage({ microseconds: Float64Array.from(took) });

function fill() {
  packets.forEach((packet, i) => {
    const ip = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packet, ip);
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + packet.length, true);
  });
}
