/** Takes back the subnets of a node that is gone for good, and refuses while it may still use them. */
import { WeftError } from "../error.js";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import { RECORD_STALE_AFTER } from "../failure-detector/reachability.js";
import type { Gossip } from "../gossip/gossip.js";
import type { Members } from "../gossip/members.js";
import type { OwnRecord } from "../gossip/own-record.js";
import { type NodeRecord, nameAndId } from "../gossip/record.js";
import * as field from "../identity/fields.js";
import { nodeId } from "../identity/identity.js";
import { REVOKE_AFTER } from "../lease/fence.js";
import { subnetOf } from "../lease/grant.js";
import type { Leasing } from "../leasing/leasing.js";
import type { Log } from "../log.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import { type Clock, toIso } from "../time/clock.js";

export interface ForgettingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly own: string;
  readonly members: Members;
  readonly connections: ConnectionManager;
  readonly failureDetector: FailureDetector;
  readonly leasing: Leasing;
  readonly gossip: Pick<Gossip, "heardAt">;
  readonly ownRecord: Pick<OwnRecord, "publish">;
}

export class Forgetting {
  readonly #parts: ForgettingParts;

  constructor(parts: ForgettingParts) {
    this.#parts = parts;
  }

  /** As `Mesh.forget`. */
  forget(name: string, force: boolean): string[] {
    const { own, members, connections, leasing, ownRecord } = this.#parts;
    const found = this.#find(name);
    if (!found) return this.#forgetUnseen(name, force);
    const { id, owner, leases } = found;
    if (id === own || connections.sessionWith(id)) throw alive(name);
    if (!force) this.#makeSure(found);
    const [other] = leasing.revoke(owner, leases);
    ownRecord.publish();
    if (other !== undefined)
      throw notTheGranter(name, nodeId(other), members.byPublicKey(other)?.name);
    return this.#forgotten(nameAndId(found), leases.map(subnetOf));
  }

  /** Takes back the grants to an identity of which no record ever came. */
  #forgetUnseen(id: string, force: boolean): string[] {
    const { connections, leasing, ownRecord } = this.#parts;
    if (!isId(id) || leasing.grantedTo(id).length === 0) throw unknownNode(id);
    if (connections.sessionWith(id)) throw alive(id);
    if (!force) throw mayBeHeard(id, "others, though no record of it ever came here");
    const prefixes = leasing.revokeUnseen(id);
    ownRecord.publish();
    return this.#forgotten(id, prefixes);
  }

  #forgotten(who: string, prefixes: string[]): string[] {
    this.#parts.log.warn(`${who} is forgotten: ${prefixes.join(", ")} can be granted again`);
    return prefixes;
  }

  /** By its name, else by its id. */
  #find(name: string): NodeRecord | undefined {
    const { members } = this.#parts;
    const named = members.named(name);
    if (named.length > 1) throw ambiguous(name, named);
    if (named[0] || !isId(name)) return named[0];
    return members.get(name) ?? members.dropped(name);
  }

  /**
   * Refuses unless the node has stopped using its subnets. It has if no node heard it for longer than
   * its fence needs to close. This node knows that if it did not hear it, and hears every other member.
   */
  #makeSure({ id, name, owner, leases, withdrawn }: NodeRecord): void {
    const { clock, own, members } = this.#parts;
    const left = REVOKE_AFTER - this.#silence(id);
    if (left > 0) throw tooEarly(name, clock.now() + left, withdrawn);
    const others = members.sorted().filter((one) => one.id !== id && one.id !== own);
    const silent = others.find((one) => this.#isSilent(one.id));
    if (silent) throw mayBeHeard(name, `${nameAndId(silent)}, which was not heard here either`);
    const hasSpace = leases.some((proof) => proof.at(-1)?.from === owner);
    if (hasSpace)
      throw mayBeHeard(name, "a node that it granted space to and that is not known here");
  }

  #isSilent(id: string): boolean {
    return this.#parts.failureDetector.isDead(id) || this.#silence(id) > RECORD_STALE_AFTER;
  }

  /** Milliseconds since this node last learned something new of a node. */
  #silence(id: string): number {
    const now = this.#parts.clock.elapsed();
    return now - (this.#parts.gossip.heardAt(id) ?? now);
  }
}

const isId = (text: string): boolean => field.id.safeParse(text).success;

const unknownNode = (name: string): WeftError =>
  new WeftError("UNKNOWN_NODE", `no node ${name} is known here`, "see: weft leases");

const ambiguous = (name: string, found: readonly NodeRecord[]): WeftError =>
  new WeftError(
    "TWO_NODES",
    `two nodes are called ${name}: ${found.map(({ id, leases }) => `${id} with ${leases.map(subnetOf).join(", ")}`).join("; ")}`,
    "say which one: weft forget ID",
  );

const alive = (name: string): WeftError =>
  new WeftError("ALIVE", `${name} is alive: this node has a session with it`, "stop it first");

const tooEarly = (name: string, safe: number, withdrawn: boolean): WeftError =>
  new WeftError(
    "TOO_EARLY",
    `${name} ${withdrawn ? "has stopped" : "may only be cut off"} and may use its subnets again until ${toIso(safe)}`,
    `wait; or, if its machine or its state directory is gone for good: weft forget ${name} --force`,
  );

const mayBeHeard = (name: string, by: string): WeftError =>
  new WeftError(
    "MAY_BE_HEARD",
    `${name} may be heard by ${by}, and then it goes on using its subnets`,
    `look on both sides of the broken network; if its machine or its state directory is gone for good: weft forget ${name} --force`,
  );

const notTheGranter = (name: string, granter: string, granterName = "a node"): WeftError =>
  new WeftError(
    "NOT_THE_GRANTER",
    `${nameAndId({ name: granterName, id: granter })} granted the subnets of ${name}, and it alone can take them back`,
    `run there: weft forget ${name}; if it is gone as well, first: weft forget ${granter}`,
  );
