/**
 * The cost of a capture: packets of a known flow on the way out, without a capture, with one for other
 * packets, and with one for all.
 */
import { parseAddress, parseMac, parsePrefix } from "../src/address.js";
import { Capture, type CaptureOptions } from "../src/core/capture.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import { ipv4, UDP, udp } from "../test/packets.js";
import { nanoseconds } from "./nanoseconds.js";

const OURS = "10.0.1.1";
const SIZES = [64, 1400];
const KINDS: readonly (readonly [string, CaptureOptions | undefined])[] = [
  ["nobody captures", undefined],
  ["others captured", { filter: "tcp 10.0.2.1" }],
  ["the dropped captured", { dropped: true }],
  ["captured, 128 bytes", { snaplen: 128 }],
  ["captured, 256 bytes", { snaplen: 256 }],
  ["captured, all bytes", { snaplen: 65_575 }],
];
const NO_MEANINGS = { peer: () => undefined, rule: () => undefined, epoch: () => 0 };

const core = await Core.create();
const { layout, view, words, bytes, exports } = core;

export function captureRows() {
  publish();
  return SIZES.flatMap((size) => {
    const restore = fill(size);
    const own = nanoseconds(restore).median;
    return KINDS.map(([how, options]) => {
      const capture = options && Capture.start(core, options, NO_MEANINGS);
      const { median, spread } = nanoseconds(() => {
        restore();
        exports.outbound(0, layout.BATCH);
        exports.finishBatch(layout.OUT);
      });
      capture?.stop();
      return {
        work: `out, ${how}`,
        bytes: size,
        ns: Number(((median - own) / layout.BATCH).toFixed(1)),
        spread: `±${((100 * spread) / median).toFixed(0)} %`,
      };
    });
  });
}

function publish(): void {
  const publisher = new Publisher(core);
  publisher.setAddress(parseAddress(OURS));
  publisher.publish(
    {
      vni: 1,
      mac: parseMac("02:00:00:00:00:01"),
      mtu: 1450,
      leases: [parsePrefix("10.0.1.0/24")],
    },
    [{ name: "b", endpoint: "192.0.2.2:4789", mac: "02:00:00:00:00:02", leases: ["10.0.2.0/24"] }],
  );
  exports.prepareReceive();
}

/** Returns a function that undoes the changes to the packets, and empties the ring like a fast reader. */
function fill(size: number): () => void {
  for (let i = 0; i < layout.BATCH; i++) {
    const dst = `10.0.2.${1 + i}`;
    const payload = udp(OURS, dst, new Uint8Array(size - 28));
    bytes.set(ipv4({ src: OURS, dst, protocol: UDP, payload }), slot(i));
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + size, true);
  }
  const changed = Array.from({ length: layout.BATCH }, (_, i) => view.getUint32(slot(i) + 8, true));
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      view.setFloat64(slot(i) - layout.VIRTIO_SIZE, 0);
      view.setUint16(slot(i) - 2, 0);
      view.setUint32(slot(i) + 8, changed[i]!, true);
    }
    words[layout.CAPTURE_TAKEN >> 2] = words[layout.CAPTURE_PUT >> 2]!;
  };
}

function slot(i: number): number {
  return layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
}
