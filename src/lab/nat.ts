/**
 * A masquerading NAT gateway, like a home router: hosts of the far segment dial out through it, from
 * one address and from ports that it chooses, and cannot be dialled.
 *
 *     near hosts -- near -- eth0 nat inside -- far -- hosts behind it
 */
import { type Lab, SEGMENTS } from "./lab.js";
import type { Host } from "./namespace.js";

/** The gateway maps every source port to another one, so code that relies on unchanged ports fails here. */
const RULES = `
table ip nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "eth0" meta l4proto { tcp, udp } masquerade to :40000-50000
    oifname "eth0" masquerade
  }
}
`;
const INSIDE = `${SEGMENTS.far.ipv4}254`;

/** Puts the hosts that the far segment has so far behind a new gateway. */
export async function nat(lab: Lab): Promise<Host> {
  const behind = lab.hosts.filter(({ segment }) => segment === "far");
  const gateway = await lab.host("nat");
  await lab.wire.ip(
    `link add name nat-inside type veth peer name inside netns ${gateway.namespace}`,
    "link set dev nat-inside master far addrgenmode none up",
  );
  await gateway.ip(`addr add ${INSIDE}/24 dev inside`, "link set inside up");
  await gateway.sysctl("net/ipv4/ip_forward", 1);
  await gateway.exec(["nft", "-f", "-"], { input: RULES });
  for (const host of behind) await host.ip(`route add default via ${INSIDE}`);
  return gateway;
}
