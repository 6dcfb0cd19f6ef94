/** One of the two copies of the tables. The core does not search a copy while it is written. */
import type { Family } from "../address.js";
import type { Acl } from "../compile/acl.js";
import { AclTable } from "../compile/acl-table.js";
import type { Differences } from "../compile/compiler.js";
import { EndpointTable } from "../compile/endpoints.js";
import { LpmTable } from "../compile/lpm.js";
import type { NatPart } from "../compile/nat.js";
import { addressesOf, clearPeer, writePeer } from "../compile/peers.js";
import type { Core } from "./instance.js";

/** A part of a copy; offsets count from the copy's beginning. */
export interface Region {
  readonly from: number;
  readonly size: number;
}

/** A table of rules that another thread built. */
export interface AclImage {
  readonly image: Uint8Array;
  /** Ranges in use, in bytes from its beginning; the rest is never read. */
  readonly used: readonly Region[];
}

export class TableCopy {
  readonly routes: Readonly<Record<Family, LpmTable>>;
  readonly #rules: AclTable;
  /** The table of rules last copied in, and its ranges in use. */
  #loaded: { readonly by: object; readonly used: readonly Region[] } | undefined;
  /** The translations last written, empty at first. */
  #nat: readonly NatPart[] = [];
  readonly #endpoints: EndpointTable;
  readonly #core: Core;
  /** Its address in the memory. */
  readonly at: number;

  constructor(core: Core, number: number) {
    const { memory, layout } = core;
    const at = layout.TABLES + number * layout.COPY_SIZE;
    this.routes = {
      4: new LpmTable(memory.buffer, at + layout.LPM4_AT, layout.LPM4_SIZE, layout),
      6: new LpmTable(memory.buffer, at + layout.LPM6_AT, layout.LPM6_SIZE, layout),
    };
    this.#rules = new AclTable(memory.buffer, at + layout.ACL_AT, layout);
    this.#endpoints = new EndpointTable(memory.buffer, at + layout.ENDPOINTS_AT, layout);
    this.#core = core;
    this.at = at;
  }

  /** Applies the differences that this copy lacks to the peers and their underlay addresses. */
  write({ own, removed, added }: Differences): void {
    for (const peer of removed) {
      for (const address of addressesOf(peer)) this.#endpoints.remove(address, peer.index);
      clearPeer(this.#record(peer.index));
    }
    for (const peer of added) {
      for (const address of addressesOf(peer)) this.#endpoints.add(address, peer.index);
      writePeer(this.#record(peer.index), peer, own, this.#core.layout);
    }
  }

  /** @throws WeftError ACL_FULL */
  paintRules(acl: Acl): void {
    if (this.#loaded) throw new Error("rules from elsewhere are not painted over");
    this.#rules.update(acl);
  }

  loadRules(rules: AclImage): void {
    for (const { from, size } of rules.used) {
      this.#core.bytes.set(rules.image.subarray(from, from + size), this.#rulesAt + from);
    }
    this.#loaded = { by: rules, used: rules.used };
  }

  /** Copies the rules of the other copy, whose table was built by another thread. */
  takeRules(other: TableCopy): void {
    const loaded = other.#loaded;
    if (!loaded || loaded.by === this.#loaded?.by) return;
    for (const { from, size } of loaded.used) {
      const at = other.#rulesAt + from;
      this.#core.bytes.copyWithin(this.#rulesAt + from, at, at + size);
    }
    this.#loaded = loaded;
  }

  writeNat(parts: readonly NatPart[]): void {
    if (parts === this.#nat) return;
    for (const { at, bytes } of parts) {
      this.#core.bytes.set(bytes, this.at + this.#core.layout.NAT_AT + at);
    }
    this.#nat = parts;
  }

  get #rulesAt(): number {
    return this.at + this.#core.layout.ACL_AT;
  }

  /** Sets the generation. Flows of another generation are decided again. */
  setGeneration(generation: number): void {
    const { view, layout } = this.#core;
    view.setUint32(this.at + layout.GENERATION_AT, generation, true);
  }

  /** Its ranges in use; the rest is never read. */
  regions(): Region[] {
    const { layout } = this.#core;
    const { LPM4_AT, LPM6_AT, ACL_AT, NAT_AT } = layout;
    const rules = this.#loaded?.used ?? this.#rules.regions;
    return [
      { from: 0, size: LPM4_AT },
      { from: LPM4_AT, size: this.routes[4].used },
      { from: LPM6_AT, size: this.routes[6].used },
      ...rules.map(({ from, size }) => ({ from: ACL_AT + from, size })),
      ...this.#nat.map(({ at, bytes }) => ({ from: NAT_AT + at, size: bytes.length })),
    ];
  }

  #record(peer: number): DataView {
    const { memory, layout } = this.#core;
    const at = this.at + layout.PEERS_AT + peer * layout.PEER_SIZE;
    return new DataView(memory.buffer, at, layout.PEER_SIZE);
  }
}
