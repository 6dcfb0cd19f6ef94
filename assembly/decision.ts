/**
 * The decision about a packet that may open a connection: its two ends as policy judges them, and as
 * they go on. Both are those of the packet unless a rule translates them.
 */
import { DECISION, IN, OUT } from "./memory";
import { addressesOf, Packet } from "./packet";
import { NatRule, wide } from "./tables/nat";
import { FIRST_PEER } from "./tables/peer";

@unmanaged
export class Decision {
  /** Room for source and destination, in the form of the packet. */
  real: v128;
  real16: v128;
  onward: v128;
  onward16: v128;
  /** Addresses of source and destination: in the packet, or in the room above. */
  realAddresses: usize;
  onwardAddresses: usize;
  /** Ports in the form of a key. */
  realPorts: u32;
  onwardPorts: u32;
  /** Whether a service chose the destination. */
  hasBackend: u32;
  /** Whether the port of the source, of the destination outside is that of a mapping. */
  isSourceMapped: u32;
  isDestinationMapped: u32;
  /** The egress rule of which this node is the gateway; null if there is none. */
  gateway: NatRule;
}

export const DECISION_SIZE: u32 = (offsetof<Decision>() + 15) & ~15;

export function decision(): Decision {
  return changetype<Decision>(DECISION);
}

/** Begins a decision: nothing is translated. */
export function beginDecision(p: Packet): Decision {
  const d = decision();
  d.realAddresses = d.onwardAddresses = addressesOf(p);
  d.realPorts = d.onwardPorts = p.ports;
  d.hasBackend = d.isSourceMapped = d.isDestinationMapped = 0;
  d.gateway = changetype<NatRule>(0);
  return d;
}

/** Whether the packet goes on with other ends than it has. */
export function isTranslating(p: Packet, d: Decision): bool {
  if (d.onwardPorts != p.ports) return true;
  if (d.onwardAddresses == addressesOf(p)) return false;
  const size = p.family == 4 ? 8 : 32;
  return memory.compare(d.onwardAddresses, addressesOf(p), size) != 0;
}

/** The direction of the replies: they come from where the packet goes to. */
export function replyDirection(p: Packet): u32 {
  return p.owner < FIRST_PEER ? OUT : IN;
}

export function sourceIn(family: u32, addresses: usize): v128 {
  return wide(family, addresses);
}

export function destinationIn(family: u32, addresses: usize): v128 {
  return wide(family, addresses + (family == 4 ? 4 : 16));
}

/** Writes source and destination in the form of a packet of the family. */
export function writeAddresses(family: u32, at: usize, source: v128, destination: v128): void {
  if (family == 4) {
    v128.store32_lane(at, source, 0);
    v128.store32_lane(at + 4, destination, 0);
  } else {
    v128.store(at, source);
    v128.store(at + 16, destination);
  }
}

/** Sets the ends that policy judges. */
export function setReal(p: Packet, d: Decision, source: v128, destination: v128): void {
  d.realAddresses = changetype<usize>(d) + offsetof<Decision>("real");
  writeAddresses(p.family, d.realAddresses, source, destination);
}

/** Sets the ends with which the packet goes on. */
export function setOnward(p: Packet, d: Decision, source: v128, destination: v128): void {
  d.onwardAddresses = changetype<usize>(d) + offsetof<Decision>("onward");
  writeAddresses(p.family, d.onwardAddresses, source, destination);
}
