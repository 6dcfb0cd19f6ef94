/** Streams a capture as lines of JSON. A slow reader loses packets. */
import { Readable } from "node:stream";
import type { CapturedPacket } from "../core/capture.js";
import type { Place } from "../policy/place.js";
import type { CaptureLine, Control } from "./view.js";

/** Most packets formatted without a pause, so that the agent can do its other work. */
const AT_ONCE = 256;
/** Milliseconds between two looks at an empty ring. */
const LOOK_EVERY = 20;

export class CaptureLines extends Readable {
  readonly #capture: ReturnType<Control["capture"]>;
  #timer: NodeJS.Timeout | undefined;
  #wait = LOOK_EVERY;
  #lost = 0;

  constructor(capture: ReturnType<Control["capture"]>) {
    super();
    this.#capture = capture;
  }

  override _read(): void {
    this.#timer = setTimeout(() => this.#look(), this.#wait);
  }

  /** Stops the capture however its reader ended. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#capture.stop();
    done(error);
  }

  #look(): void {
    const packets = this.#capture.take(AT_ONCE);
    this.#wait = packets.length === AT_ONCE ? 0 : LOOK_EVERY;
    const lines = packets.map(asLine);
    const { lost } = this.#capture;
    if (lost !== this.#lost) lines.push(line({ lost }));
    this.#lost = lost;
    if (lines.length > 0) this.push(lines.join(""));
    else this._read();
  }
}

const asLine = ({ bytes, ...packet }: CapturedPacket<Place>): string =>
  line({ ...packet, bytes: Buffer.from(bytes).toString("hex") });

const line = (value: CaptureLine): string => `${JSON.stringify(value)}\n`;
