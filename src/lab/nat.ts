/**
 * A gateway that translates addresses, as at home: hosts of the far segment
 * dial out through it, from one address and from ports it chooses, and nobody
 * can dial them.
 *
 *     near hosts -- near -- eth0 nat inside -- far -- hosts behind it
 */
import { type Lab, SEGMENTS } from "./lab.js";
import type { Host } from "./namespace.js";

/** Other ports than the hosts chose: who relies on those does not work here. */
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

/** Puts the hosts of the far segment that are there by now behind a new gateway. */
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
