/** The host's end of the dataplane: one IP packet a call, without a link header. */
export interface Device {
  /** Packets that `send` could not pass on, because the other side is too slow or closed. */
  readonly lost: number;
  /** Called for every packet that the host sends. The listener may keep the bytes. */
  onPacket(listener: (packet: Uint8Array) => void): void;
  /** Called once if the device ends by itself, with the error that ended it, if any. */
  onEnd(listener: (error?: Error) => void): void;
  /** Never blocks: packets that cannot be passed on are counted in `lost`. */
  send(packet: Uint8Array): void;
  close(): void;
}
