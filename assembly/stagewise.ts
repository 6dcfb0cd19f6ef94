/** Single stages over the packets of a processed batch, for benchmarks. */
import { DEVICE_COUNT, OUT, SEGMENT_COUNT, WIRE_COUNT } from "./memory";
import { packetAt } from "./packet";
import { decap } from "./stages/decap";
import { encap } from "./stages/encap";
import { ACL_LPM4, ACL_MAX_RULES, findRule, ruleAt } from "./tables/acl";
import { lookup4 } from "./tables/lpm";
import { chooseBackend, findService } from "./tables/nat";

export function encapAll(count: u32): void {
  store<u32>(WIRE_COUNT, 0);
  store<u32>(SEGMENT_COUNT, 0);
  for (let i: u32 = 0; i < count; i++) encap(packetAt(i));
}

export function decapAll(count: u32): i32 {
  store<u32>(DEVICE_COUNT, 0);
  let refused = 0;
  for (let i: u32 = 0; i < count; i++) refused |= decap(packetAt(i));
  return refused;
}

/** A header for findRules, u32 each: source and destination in network order, ports, protocol, result. */
const QUESTION_SIZE: u32 = 20;

/** For each of `count` headers, finds the first rule that it matches on the way out; 0 for none. */
export function findRules(acl: usize, questions: usize, count: u32): void {
  for (const end = questions + count * QUESTION_SIZE; questions < end; questions += QUESTION_SIZE) {
    const near = lookup4(acl + ACL_LPM4, load<u32>(questions));
    const far = lookup4(acl + ACL_LPM4, load<u32>(questions, 4));
    const ports = load<u32>(questions, 8);
    const protocol = load<u32>(questions, 12);
    const bit = findRule(acl, OUT, near, far, protocol, ports >> 16, ports & 0xffff, 0);
    store<u32>(questions, bit == ACL_MAX_RULES ? 0 : ruleAt(acl, OUT, bit), 16);
  }
}

/** A question of chooseBackends: two addresses of 16 bytes, in the first of which is room for a result. */
const CHOICE_SIZE: u32 = 32;

/** For each of `count` questions, finds the service and the backend of the client behind its address. */
export function chooseBackends(questions: usize, count: u32, protocol: u32, port: u32): u32 {
  let found: u32 = 0;
  for (const end = questions + count * CHOICE_SIZE; questions < end; questions += CHOICE_SIZE) {
    const address = v128.load32_zero(questions);
    const service = findService(4, protocol, address, bswap<u16>(<u16>port));
    if (!service) continue;
    const client = v128.load32_zero(questions + 16);
    if (chooseBackend(service, client, load<u32>(questions, 20) & 0xffff)) found++;
  }
  return found;
}

/** memory.copy, for comparison. */
export function copy(to: usize, from: usize, length: usize): void {
  memory.copy(to, from, length);
}
