/**
 * Datagrams between hosts, as UDP carries them: what the underlay loses does
 * not arrive, what it delays may be overtaken. Gates translate addresses as a
 * masquerading router does.
 */
import { type DataPath, hostOf, MAX_CONTROL_BYTES, type Receiver } from "../paths/datapath.js";

/** How long a gate remembers to whom a host behind it spoke, in milliseconds. */
export const MAPPING_LASTS = 30_000;

export interface SimUnderlay {
  /** Milliseconds since some moment before. */
  now(): number;
  after(ms: number, act: () => void): void;
  /** How many milliseconds so many bytes that are sent now from one address to another take; nothing when they are lost. */
  crossing(from: string, to: string, bytes: number): number | undefined;
}

export class Datagrams {
  readonly #underlay: SimUnderlay;
  readonly #ports = new Map<string, SimDataPath>();
  readonly #nats = new Map<string, Nat>();
  /** Of all that were sent. */
  bytes = 0;

  constructor(underlay: SimUnderlay) {
    this.#underlay = underlay;
  }

  /** A port like `198.18.0.1:4789`, behind the gate with this address if one is named. `act` lets the process do something. */
  open(endpoint: string, act: (fn: () => void) => void, nat?: string): SimDataPath {
    const port = new SimDataPath(this, endpoint, act, nat);
    this.#ports.set(endpoint, port);
    return port;
  }

  close(port: SimDataPath): void {
    if (this.#ports.get(port.endpoint) === port) this.#ports.delete(port.endpoint);
  }

  /** The same port at another endpoint. */
  rebind(port: SimDataPath, endpoint: string): void {
    this.close(port);
    port.endpoint = endpoint;
    this.#ports.set(endpoint, port);
  }

  /** Puts a port behind another nat, or behind none. */
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

  /** `side` is the gate behind which it stays. */
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
  /** Datagrams that were sent and that came in. */
  readonly count = { sent: 0, received: 0 };
  /** Milliseconds until the process gets to what came in. */
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

  /** Acts as if this host's interface had another MTU now. */
  resize(most: number): void {
    this.mtu = { ...this.mtu, most };
    this.act(() => this.#resized());
  }

  takeMtuHint(name: string): number | undefined {
    const hint = this.#hints.get(name);
    this.#hints.delete(name);
    return hint;
  }

  /** Acts as if ICMP reported this path MTU for the peer. */
  icmp(name: string, mtu: number): void {
    this.#hints.set(name, mtu);
    this.act(() => this.#hinted(name));
  }

  /** As if packets went to this peer. */
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

/** One outer port for each inner one; only those to whom it spoke may answer, by the port they were spoken to. */
class Nat {
  readonly #outer = new Map<string, string>();
  readonly #inner = new Map<string, string>();
  /** When something went out last, by inner and remote endpoint. */
  readonly #spoke = new Map<string, number>();

  constructor(readonly address: string) {}

  outward(inner: string, remote: string, now: number): string {
    const outer = this.#outer.get(inner) ?? `${this.address}:${20_000 + this.#outer.size}`;
    this.#outer.set(inner, outer);
    this.#inner.set(outer, inner);
    this.#spoke.set(`${inner} ${remote}`, now);
    return outer;
  }

  /** The endpoint behind it for which this is; nothing when it does not let it in. */
  inward(remote: string, outer: string, now: number): string | undefined {
    const inner = this.#inner.get(outer);
    const at = this.#spoke.get(`${inner} ${remote}`);
    return at !== undefined && now - at <= MAPPING_LASTS ? inner : undefined;
  }
}
