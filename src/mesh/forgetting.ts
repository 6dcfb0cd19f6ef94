/** What is in the way of forgetting a node, in words. */
import { WeftError } from "../error.js";

export const nobody = (name: string): WeftError =>
  new WeftError("UNKNOWN_NODE", `no node ${name} is known here`, "see: weft leases");

export const several = (name: string): WeftError =>
  new WeftError(
    "TWO_NODES",
    `two nodes are called ${name}`,
    "rename the one that lives, and again",
  );

export const alive = (name: string): WeftError =>
  new WeftError("ALIVE", `${name} lives: this node has a session with it`, "stop it first");

export const tooEarly = (name: string, safe: number, withdrawn: boolean): WeftError =>
  new WeftError(
    "TOO_EARLY",
    `${name} ${withdrawn ? "has stopped" : "may be cut off only"} and may use its subnets again until ${new Date(safe).toISOString()}`,
    `wait; or, if its machine or its state directory is gone for good: weft forget ${name} --certain`,
  );

export const notTheGiver = (name: string, giver: string): WeftError =>
  new WeftError(
    "NOT_THE_GIVER",
    `${giver} alone can take back what ${name} holds`,
    `run there: weft forget ${name}; if ${giver} is gone as well, forget it first`,
  );
