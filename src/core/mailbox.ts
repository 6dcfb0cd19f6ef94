/** Takes the datagrams for the control plane, which `assembly/mailbox.ts` puts into a mailbox. */
import { formatEndpoint } from "../address.js";
import { readSockaddr } from "../sockaddr.js";
import type { Core } from "./instance.js";

export interface ControlDatagram {
  /** `ip:port` */
  readonly from: string;
  /** The first MAX_CONTROL bytes of the datagram. */
  readonly bytes: Uint8Array;
  /** Length of the datagram in bytes. */
  readonly length: number;
  /** Time of arrival by the core's CLOCK, in milliseconds. */
  readonly at: number;
}

/**
 * Takes the waiting datagrams: those of known senders first, those of each sender oldest first. Later
 * ones stay for the next call.
 */
export function takeControl(core: Core): ControlDatagram[] {
  const { layout, words } = core;
  const put = Atomics.load(words, layout.MAILBOX_PUT >> 2);
  if (put === Atomics.load(words, layout.MAILBOX_TAKEN >> 2)) return [];
  const rings = Array.from(
    { length: layout.MAILBOX_RINGS },
    (_, i) => layout.MAILBOX + i * layout.MAILBOX_RING_SIZE,
  );
  const datagrams = rings.flatMap((ring) => takeRing(core, ring));
  Atomics.add(words, layout.MAILBOX_TAKEN >> 2, datagrams.length);
  return datagrams;
}

function takeRing(core: Core, ring: number): ControlDatagram[] {
  const { layout, words } = core;
  const takenWord = (ring + layout.MAILBOX_RING_TAKEN) >> 2;
  const taken = Atomics.load(words, takenWord);
  const count = (Atomics.load(words, (ring + layout.MAILBOX_RING_PUT) >> 2) - taken) >>> 0;
  const datagrams = Array.from({ length: count }, (_, i) => read(core, ring, (taken + i) >>> 0));
  Atomics.add(words, takenWord, count);
  return datagrams;
}

function read({ layout, view, bytes }: Core, ring: number, number: number): ControlDatagram {
  const places = ring + layout.MAILBOX_RING_PLACES;
  const place = places + (number % layout.MAILBOX_PLACES) * layout.MAILBOX_SIZE;
  const start = place + layout.MAILBOX_BYTES;
  const length = view.getUint32(place + layout.MAILBOX_LENGTH, true);
  const sender = new DataView(view.buffer, place, layout.MAILBOX_LENGTH);
  return {
    from: formatEndpoint(readSockaddr(sender)),
    bytes: bytes.slice(start, start + Math.min(length, layout.MAX_CONTROL)),
    length,
    at: view.getFloat64(place + layout.MAILBOX_CLOCK, true),
  };
}
