/**
 * The path between the two segments of a lab: two routers and a link between them, whose MTU or
 * quality may be worse than the hosts' own links.
 *
 *     near hosts -- near -- r1 ==== link ==== r2 -- far -- far hosts
 */
import { type Lab, SEGMENTS, type Segment } from "./lab.js";
import type { Host } from "./namespace.js";

export interface Link {
  readonly r1: Host;
  readonly r2: Host;
}

/** Prefixes of the link itself, from which its routers send ICMP errors (RFC 5737, RFC 3849). */
const LINK4 = "203.0.113.";
const LINK6 = "2001:db8:3::";

/** Joins the segments, so that the hosts added so far reach each other. `mtu` is the MTU of the link. */
export async function link(lab: Lab, { mtu = 1500 } = {}): Promise<Link> {
  const hosts = [...lab.hosts];
  const r1 = await lab.host("r1");
  const r2 = await lab.host("r2", { segment: "far" });
  await r1.ip(
    `link add link0 mtu ${mtu} type veth peer name link0 mtu ${mtu} netns ${r2.namespace}`,
  );
  for (const [router, number, other] of [
    [r1, 1, 2],
    [r2, 2, 1],
  ] as const) {
    await router.ip(
      "link set link0 addrgenmode none",
      `addr add ${LINK4}${number}/24 dev link0`,
      `addr add ${LINK6}${number}/64 dev link0 nodad`,
      `addr add fe80::${number}/64 dev link0 nodad`,
      "link set link0 up",
    );
    await sendTo(router, router === r1 ? "far" : "near", LINK4 + other, LINK6 + other);
    await router.sysctl("net/ipv4/ip_forward", 1);
    await router.sysctl("net/ipv6/conf/all/forwarding", 1);
  }
  for (const host of hosts) {
    const [segment, { address, address6 }] =
      host.segment === "near" ? (["far", r1] as const) : (["near", r2] as const);
    await sendTo(host, segment, address, address6);
  }
  return { r1, r2 };
}

async function sendTo(host: Host, segment: Segment, via4: string, via6: string): Promise<void> {
  const { ipv4, ipv6 } = SEGMENTS[segment];
  await host.ip(`route add ${ipv4}0/24 via ${via4}`, `route add ${ipv6}/64 via ${via6}`);
}
