/**
 * Datagrams between hosts, like UDP: the underlay may lose, delay and reorder them. NAT gateways
 * translate addresses as a masquerading router does.
 */
import { type DataPath, hostOf, MAX_CONTROL_BYTES, type Receiver } from "../paths/datapath.js";

/** Milliseconds that a NAT gateway keeps the mapping of an idle flow. */
export const MAPPING_LASTS = 30_000;

export interface SimUnderlay {
  /** Milliseconds of a monotonic clock. */
  now(): number;
  after(ms: number, act: () => void): void;
  /** Milliseconds until a datagram of so many bytes, sent now, arrives; undefined when it is lost. */
  crossing(from: string, to: string, bytes: number): number | undefined;
}

export class Datagrams {
  readonly #underlay: SimUnderlay;
  readonly #ports = new Map<string, SimDataPath>();
  readonly #nats = new Map<string, Nat>();
  /** Payload bytes of all datagrams sent so far. */
  bytes = 0;

  constructor(underlay: SimUnderlay) {
    this.#underlay = underlay;
  }

  /**
   * Opens a port at an endpoint like `198.18.0.1:4789`, behind the NAT gateway with the address `nat`
   * if there is one. `act` runs an action in the port's process.
   */
  open(endpoint: string, act: (fn: () => void) => void, nat?: string): SimDataPath {
    const port = new SimDataPath(this, endpoint, act, nat);
    this.#ports.set(endpoint, port);
    return port;
  }

  close(port: SimDataPath): void {
    if (this.#ports.get(port.endpoint) === port) this.#ports.delete(port.endpoint);
  }

  /** Moves a port to another endpoint. */
  rebind(port: SimDataPath, endpoint: string): void {
    this.close(port);
    port.endpoint = endpoint;
    this.#ports.set(endpoint, port);
  }

  /** Puts a port behind another NAT gateway, or behind none. */
  move(port: SimDataPath, nat: string | undefined): void {
    port.nat = nat;
  }

  send(sender: SimDataPath, to: string, bytes: Uint8Array): void {
    this.bytes += bytes.length;
    const sent = bytes.slice();
    const local = this.#ports.get(to);
    if (sender.nat !== undefined && local?.nat !== sender.nat) {
      this.#cross(
        this.#nat(sender.nat).outward(sender.endpoint, to, this.#underlay.now()),
        to,
        sent,
      );
    } else {
      this.#cross(sender.endpoint, to, sent, sender.nat);
    }
  }

  later(ms: number, act: () => void): void {
    if (ms === 0) act();
    else this.#underlay.after(ms, act);
  }

  /** Delivers a datagram, after its delay. `side` is the NAT gateway behind which both ends are, if any. */
  #cross(from: string, to: string, bytes: Uint8Array, side?: string): void {
    const ms = this.#underlay.crossing(hostOf(from), hostOf(to), bytes.length);
    if (ms === undefined) return;
    this.#underlay.after(ms, () => {
      const inside = this.#nats.get(hostOf(to))?.inward(from, to, this.#underlay.now());
      const port = this.#ports.get(inside ?? to);
      if (port && (inside !== undefined || port.nat === side)) port.arrived(from, bytes);
    });
  }

  #nat(address: string): Nat {
    const known = this.#nats.get(address);
    if (known) return known;
    const nat = new Nat(address);
    this.#nats.set(address, nat);
    return nat;
  }
}

export class SimDataPath implements DataPath {
  #receiver: Receiver = () => {};
  #active = new Set<string>();
  #hinted: (name: string) => void = () => {};
  #resized: () => void = () => {};
  readonly #hints = new Map<string, number>();
  mtu = { least: 526, most: 1450 };
  carriesEcn = false;
  /** The numbers of datagrams that were sent and received. */
  readonly count = { sent: 0, received: 0 };
  /** Milliseconds until the process handles an arrived datagram. */
  busyFor = 0;

  constructor(
    readonly datagrams: Datagrams,
    public endpoint: string,
    readonly act: (fn: () => void) => void,
    public nat: string | undefined,
  ) {}

  send(to: string, bytes: Uint8Array): void {
    this.count.sent++;
    this.datagrams.send(this, to, bytes);
  }

  receive(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  takeActive(): string[] {
    const names = [...this.#active];
    this.#active = new Set();
    return names;
  }

  onMtuHint(listener: (name: string) => void): void {
    this.#hinted = listener;
  }

  onMtuChange(listener: () => void): void {
    this.#resized = listener;
  }

  /** Changes the MTU of this host's interface. */
  resize(most: number): void {
    this.mtu = { ...this.mtu, most };
    this.act(() => this.#resized());
  }

  takeMtuHint(name: string): number | undefined {
    const hint = this.#hints.get(name);
    this.#hints.delete(name);
    return hint;
  }

  /** Delivers an ICMP error that reports this path MTU for a peer. */
  icmp(name: string, mtu: number): void {
    this.#hints.set(name, mtu);
    this.act(() => this.#hinted(name));
  }

  /** Marks a peer as one to which packets were sent. */
  packets(name: string): void {
    this.#active.add(name);
  }

  arrived(from: string, bytes: Uint8Array): void {
    this.count.received++;
    const kept = bytes.subarray(0, MAX_CONTROL_BYTES);
    const waited = this.busyFor;
    this.datagrams.later(waited, () =>
      this.act(() => this.#receiver(from, kept, bytes.length, waited)),
    );
  }
}

/**
 * A NAT gateway with one outer port for each inner endpoint. It lets a datagram in only from a remote
 * endpoint to which that inner endpoint sent one lately.
 */
class Nat {
  readonly #outer = new Map<string, string>();
  readonly #inner = new Map<string, string>();
  /** The time of the last datagram out, by inner and remote endpoint. */
  readonly #spoke = new Map<string, number>();

  constructor(readonly address: string) {}

  outward(inner: string, remote: string, now: number): string {
    const outer = this.#outer.get(inner) ?? `${this.address}:${20_000 + this.#outer.size}`;
    this.#outer.set(inner, outer);
    this.#inner.set(outer, inner);
    this.#spoke.set(`${inner} ${remote}`, now);
    return outer;
  }

  /** The inner endpoint for a datagram from outside; undefined when the gateway drops it. */
  inward(remote: string, outer: string, now: number): string | undefined {
    const inner = this.#inner.get(outer);
    const at = this.#spoke.get(`${inner} ${remote}`);
    return at !== undefined && now - at <= MAPPING_LASTS ? inner : undefined;
  }
}
