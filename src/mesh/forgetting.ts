/** How what a node held is taken back when it is gone for good, and what can be in the way. */
import { WeftError } from "../error.js";
import { TAKE_BACK_AFTER } from "../lease/fence.js";
import { subnetOf } from "../lease/grant.js";
import type { Clock } from "./clock.js";
import { nodeId } from "./identity.js";
import type { Leasing } from "./leasing.js";
import type { Links } from "./links.js";
import type { Log } from "./log.js";
import type { Members } from "./members.js";

export interface ForgettingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly own: string;
  readonly members: Members;
  readonly links: Links;
  readonly leasing: Leasing;
  /** When something new was last learned of a node, by `clock.elapsed`. */
  learnedAt(id: string): number | undefined;
  publish(): void;
}

export class Forgetting {
  readonly #parts: ForgettingParts;
  readonly #began: number;

  constructor(parts: ForgettingParts) {
    this.#parts = parts;
    this.#began = parts.clock.elapsed();
  }

  /** As `Mesh.forget`. */
  forget(name: string, certain: boolean): string[] {
    const { clock, log, own, members, links, leasing, learnedAt, publish } = this.#parts;
    const [found, ...more] = members.named(name);
    if (!found) throw nobody(name);
    if (more.length > 0) throw several(name);
    const { id, owner, leases, withdrawn } = found;
    if (id === own || links.to(id)) throw alive(name);
    const waited = clock.elapsed() - (learnedAt(id) ?? this.#began);
    const safe = clock.now() + TAKE_BACK_AFTER - waited;
    if (!certain && waited < TAKE_BACK_AFTER) throw tooEarly(name, safe, withdrawn);
    const [other] = leasing.takeBack(owner, leases);
    publish();
    if (other !== undefined) throw notTheGiver(name, members.of(other)?.name ?? nodeId(other));
    const subnets = leases.map(subnetOf);
    log.warn(`${name} (${id}) is forgotten: ${subnets.join(", ")} can be given again`);
    return subnets;
  }
}

const nobody = (name: string): WeftError =>
  new WeftError("UNKNOWN_NODE", `no node ${name} is known here`, "see: weft leases");

const several = (name: string): WeftError =>
  new WeftError(
    "TWO_NODES",
    `two nodes are called ${name}`,
    "rename the one that lives, and again",
  );

const alive = (name: string): WeftError =>
  new WeftError("ALIVE", `${name} lives: this node has a session with it`, "stop it first");

const tooEarly = (name: string, safe: number, withdrawn: boolean): WeftError =>
  new WeftError(
    "TOO_EARLY",
    `${name} ${withdrawn ? "has stopped" : "may be cut off only"} and may use its subnets again until ${new Date(safe).toISOString()}`,
    `wait; or, if its machine or its state directory is gone for good: weft forget ${name} --certain`,
  );

const notTheGiver = (name: string, giver: string): WeftError =>
  new WeftError(
    "NOT_THE_GIVER",
    `${giver} alone can take back what ${name} holds`,
    `run there: weft forget ${name}; if ${giver} is gone as well, forget it first`,
  );
