/** A host between whose device and wire rules stand, for tests of what they let pass. */
import { parseMac, parsePrefix } from "../../src/address.js";
import type { AclEntry, AclRule } from "../../src/compile/acl-rule.js";
import type { NatRules } from "../../src/compile/nat-rules.js";
import { type FlowOptions, type FlowView, readFlows } from "../../src/core/flows.js";
import { Core } from "../../src/core/instance.js";
import { vxlan } from "../packets.js";
import { A, B, C, Host, MTU, read } from "./host.js";

const OWN = { vni: 1, mac: parseMac(A.mac), mtu: MTU, leases: A.leases.map(parsePrefix) };
const ANY = { in: [], not: [] };

/** A rule without its number. */
export type Said = Partial<AclRule> & Pick<AclRule, "action">;

let numbers = 0;
const entries = (rules: readonly Said[]): AclEntry[] =>
  rules.map((said, i) => ({
    rule: {
      number: ++numbers,
      near: ANY,
      far: ANY,
      protocols: [],
      sourcePorts: [],
      destinationPorts: [],
      ...said,
    },
    next: i + 1,
  }));

export class AclHost {
  private constructor(readonly host: Host) {}

  static async create(options: FlowOptions = {}): Promise<AclHost> {
    const core = await Core.create(options);
    return new AclHost(await Host.create({ core, gso: false, coalesce: false }));
  }

  /** From now on these rules stand on the way out and on the way in, and this is translated. */
  rules(out: readonly Said[], inward: readonly Said[], nat?: NatRules): void {
    const rules = [entries(out), entries(inward)] as const;
    const fresh = rules.flat().map(({ rule }) => rule.number);
    this.host.publisher.publish(OWN, [B, { ...C, mtu: MTU }], { rules, fresh }, nat);
  }

  /** What becomes of a packet from the device. */
  out(packet: Uint8Array): string {
    return this.allOut([packet])[0]!;
  }

  /** What becomes of one that B sends. */
  in(packet: Uint8Array): string {
    return this.allIn([packet])[0]!;
  }

  /** The same of packets that come in one batch. */
  allOut(packets: readonly Uint8Array[]): string[] {
    return this.host.send(packets.map((packet) => read(packet))).verdicts;
  }
  allIn(packets: readonly Uint8Array[]): string[] {
    const messages = packets.map((packet) => ({ from: B.endpoint, bytes: vxlan(packet) }));
    return this.host.receive(messages).verdicts;
  }

  flows(): FlowView<number>[] {
    return readFlows(this.host.core, (number) => number);
  }

  setClock(milliseconds: number): void {
    this.host.core.setClock(milliseconds);
  }
}
