/**
 * Records that the host writes: those of a snapshot in the places that they had, those of an earlier
 * agent in free ones. Only between batches. The host has checked the fields.
 */
import { FLOW_SIZE, FLOWS } from "../memory";
import { TCP } from "../wire/protocol";
import { accountHere } from "./account";
import { charge, countState } from "./connection";
import { Flow, familyOf, flowAddresses, MAPPED, NONE, protocolOf } from "./flow";
import { countMapping, useMappings } from "./mapped";
import {
  find,
  firstSet,
  freeIn,
  hashOf,
  recordAt,
  SET_SIZE,
  secondSet,
  tagOf,
  tagPlace,
} from "./table";
import { forgetNumbers } from "./tcp-state";

/** Makes the record at this place findable; false if its key belongs elsewhere, or is there already. */
export function enterRecord(place: u32): bool {
  const flow = recordAt(place);
  const hash = hashOf(flow.kind, flow.ports, flowAddresses(flow));
  const set = place / SET_SIZE;
  if (set != firstSet(hash) && set != secondSet(hash)) return false;
  if (isKnown(flow)) return false;
  store<u16>(tagPlace(flow), <u16>tagOf(hash));
  return true;
}

/** The place for a record whose key is at `key`; -1 if there is none, or the key is there already. */
export function freePlace(key: usize): i32 {
  const flow = changetype<Flow>(key);
  if (isKnown(flow)) return -1;
  const hash = hashOf(flow.kind, flow.ports, flowAddresses(flow));
  const free = freeIn(firstSet(hash), secondSet(hash));
  return free == NONE ? -1 : <i32>((changetype<usize>(free) - FLOWS) / FLOW_SIZE);
}

/** Counts the connection or mapping whose first record was entered at this place. */
export function countEntered(place: u32): void {
  const flow = recordAt(place);
  countState(flow.state, 1);
  charge(flow, 1);
  if (flow.state == MAPPED) countMapping(flow);
}

/** Counts the connection of this first record towards the mappings that it uses. */
export function useEntered(place: u32): void {
  useMappings(recordAt(place), 1);
}

/** The account of a connection opened here, from its first record's key. */
export function sourceAccount(key: usize): u32 {
  const flow = changetype<Flow>(key);
  return accountHere(familyOf(flow), flowAddresses(flow));
}

/** For the record at this place of a connection that went on unseen. */
export function loosen(place: u32): void {
  const flow = recordAt(place);
  if (protocolOf(flow) == TCP) forgetNumbers(flow);
}

function isKnown(flow: Flow): bool {
  return find(flow.kind, flow.ports, flowAddresses(flow)) != NONE;
}
