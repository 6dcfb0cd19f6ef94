/** The underlay network: datagrams to and from endpoints such as `192.0.2.1:4789`. */
export interface Underlay {
  /** Datagrams that could not be passed on, in either direction. */
  readonly lost: number;
  /** Called for every datagram, with its source. The listener may keep the bytes. */
  onDatagram(listener: (datagram: Uint8Array, from: string) => void): void;
  /** Called once if the underlay ends by itself, with the error that ended it, if any. */
  onEnd(listener: (error?: Error) => void): void;
  /** Never blocks: datagrams that cannot be passed on are counted in `lost`. */
  send(to: string, datagram: Uint8Array): void;
  close(): Promise<void>;
}
