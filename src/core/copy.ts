/** One of the two copies of the tables. Nobody searches it while it is written. */
import type { Family } from "../address.js";
import { AclTable } from "../compile/acl.js";
import type { Differences } from "../compile/compiler.js";
import { EndpointTable } from "../compile/endpoints.js";
import { LpmTable } from "../compile/lpm.js";
import { addressesOf, clearPeer, writePeer } from "../compile/peers.js";
import type { Core } from "./instance.js";

/** A part of a copy, counted from where the copy begins. */
export interface Region {
  readonly from: number;
  readonly size: number;
}

export class TableCopy {
  readonly routes: Readonly<Record<Family, LpmTable>>;
  readonly rules: AclTable;
  readonly #endpoints: EndpointTable;
  readonly #core: Core;
  /** Where it begins in the memory. */
  readonly at: number;

  constructor(core: Core, number: number) {
    const { memory, layout } = core;
    const at = layout.TABLES + number * layout.COPY_SIZE;
    const places = new Uint32Array(
      memory.buffer,
      at + layout.ENDPOINTS_AT,
      2 << layout.ENDPOINT_BITS,
    );
    this.routes = {
      4: new LpmTable(memory.buffer, at + layout.LPM4_AT, layout.LPM4_SIZE),
      6: new LpmTable(memory.buffer, at + layout.LPM6_AT, layout.LPM6_SIZE),
    };
    this.rules = new AclTable(memory.buffer, at + layout.ACL_AT, layout);
    this.#endpoints = new EndpointTable(places, layout.ENDPOINT_BITS);
    this.#core = core;
    this.at = at;
  }

  /** Brings the peers and their underlay addresses up to date, if just these differences are missing. */
  write({ own, gone, come }: Differences): void {
    for (const peer of gone) {
      for (const address of addressesOf(peer)) this.#endpoints.remove(address, peer.index);
      clearPeer(this.#record(peer.index));
    }
    for (const peer of come) {
      for (const address of addressesOf(peer)) this.#endpoints.add(address, peer.index);
      writePeer(this.#record(peer.index), peer, own);
    }
  }

  /** Flows that were remembered under another generation are decided again. */
  setGeneration(generation: number): void {
    const { view, layout } = this.#core;
    view.setUint32(this.at + layout.GENERATION_AT, generation, true);
  }

  /** What of it is in use; nothing of the rest is ever read. */
  regions(): Region[] {
    const { layout } = this.#core;
    const { LPM4_AT, LPM6_AT, ACL_AT, ACL_LPM4, ACL_LPM6, ACL_SETS } = layout;
    const { classes, sets } = this.rules.used;
    return [
      { from: 0, size: LPM4_AT },
      { from: LPM4_AT, size: this.routes[4].used },
      { from: LPM6_AT, size: this.routes[6].used },
      { from: ACL_AT, size: ACL_LPM4 },
      { from: ACL_AT + ACL_LPM4, size: classes[4] },
      { from: ACL_AT + ACL_LPM6, size: classes[6] },
      { from: ACL_AT + ACL_SETS, size: sets },
    ];
  }

  #record(peer: number): DataView {
    const { memory, layout } = this.#core;
    const at = this.at + layout.PEERS_AT + peer * layout.PEER_SIZE;
    return new DataView(memory.buffer, at, layout.PEER_SIZE);
  }
}
