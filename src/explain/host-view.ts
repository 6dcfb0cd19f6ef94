/** What a host does with a packet, before weft has it or after weft has handed it over. */
export const HOST_ENDS = ["weft", "local", "device", "refused", "nowhere"] as const;

export interface HostView {
  /**
   * `weft`: to the overlay device. `local`: to a program of this host. `device`: to another one.
   * `refused`: the kernel routes it nowhere. `nowhere`: weft hands it over, and its route leads
   * back to weft.
   */
  readonly to: (typeof HOST_ENDS)[number];
  /** Of `device`: its name, with `?` for what is not printable ASCII. */
  readonly device?: string;
  /** Address of the next router, if the route has one. */
  readonly via?: string;
  /** The kernel's words, or another fact about this route. */
  readonly why?: string;
}
