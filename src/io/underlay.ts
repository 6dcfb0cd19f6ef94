/** The real network, as datagrams to and from endpoints like `192.0.2.1:4789`. */
export interface Underlay {
  /** Datagrams that could not be handed over, in either direction. */
  readonly lost: number;
  /** Hears of every datagram and where it came from. The bytes are the listener's to keep. */
  onDatagram(listener: (datagram: Uint8Array, from: string) => void): void;
  /** Hears once that the underlay ended by itself, and the error that ended it, if any. */
  onEnd(listener: (error?: Error) => void): void;
  /** Never waits: what cannot be handed over is counted in `lost`. */
  send(to: string, datagram: Uint8Array): void;
  close(): Promise<void>;
}
