/** Where IP packets come from and go to: one packet a call, no link header. */
export interface Device {
  /** Packets that `send` could not hand over, because the other side is too slow or gone. */
  readonly lost: number;
  /** Hears of every packet the host sends. The bytes are the listener's to keep. */
  onPacket(listener: (packet: Uint8Array) => void): void;
  /** Hears once that the device ended by itself, and the error that ended it, if any. */
  onEnd(listener: (error?: Error) => void): void;
  /** Never waits: what cannot be handed over is counted in `lost`. */
  send(packet: Uint8Array): void;
  close(): void;
}
