/** The host's handling of a packet, before weft has it or after weft delivered it. */
export const HOST_ENDS = ["weft", "local", "device", "refused", "nowhere"] as const;

export interface HostView {
  /**
   * `weft`: to the overlay device. `local`: to a program of this host. `device`: to another device.
   * `refused`: the kernel has no route for it. `nowhere`: weft delivers it, and its route leads back
   * to weft.
   */
  readonly to: (typeof HOST_ENDS)[number];
  /** Name of the device for `device`, with `?` for characters that are not printable ASCII. */
  readonly device?: string;
  /** Address of the next router, if the route has one. */
  readonly via?: string;
  /** For `device`, the destination of the route, `default` for all, and its table unless that is `main` or `local`. */
  readonly route?: string;
  /** The kernel's error, or another fact about this route. */
  readonly why?: string;
}
