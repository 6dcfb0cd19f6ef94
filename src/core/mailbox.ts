/** Takes out the datagrams that the core kept for the control plane: `assembly/mailbox.ts` puts them in. */
import { formatEndpoint } from "../address.js";
import { readSockaddr } from "../sockaddr.js";
import type { Core } from "./instance.js";

export interface Mail {
  /** `ip:port` */
  readonly from: string;
  /** The first MAX_CONTROL bytes of the datagram. */
  readonly bytes: Uint8Array;
  /** Length of the datagram in bytes. */
  readonly length: number;
  /** When it came in, by the core's CLOCK, in milliseconds. */
  readonly at: number;
}

/**
 * The datagrams that wait now: those of known senders first, those of one sender oldest first.
 * Later ones wait for the next call.
 */
export function takeMail(core: Core): Mail[] {
  const { layout, words } = core;
  const put = Atomics.load(words, layout.MAILBOX_PUT >> 2);
  if (put === Atomics.load(words, layout.MAILBOX_TAKEN >> 2)) return [];
  const rings = Array.from(
    { length: layout.MAILBOX_RINGS },
    (_, i) => layout.MAILBOX + i * layout.MAILBOX_RING_SIZE,
  );
  const mail = rings.flatMap((ring) => takeRing(core, ring));
  Atomics.add(words, layout.MAILBOX_TAKEN >> 2, mail.length);
  return mail;
}

function takeRing(core: Core, ring: number): Mail[] {
  const { layout, words } = core;
  const takenWord = (ring + layout.MAILBOX_RING_TAKEN) >> 2;
  const taken = Atomics.load(words, takenWord);
  const count = (Atomics.load(words, ring >> 2) - taken) >>> 0;
  const mail = Array.from({ length: count }, (_, i) => read(core, ring, (taken + i) >>> 0));
  Atomics.add(words, takenWord, count);
  return mail;
}

function read({ layout, view, bytes }: Core, ring: number, number: number): Mail {
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
