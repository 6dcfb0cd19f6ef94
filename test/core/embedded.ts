/** The dataplane that embedders use: node A, whose peers are B and C. */
import { Dataplane } from "weft";
import { A, B, C, hostOf, MTU } from "./host.js";

export async function embedded(): Promise<Dataplane> {
  const dp = await Dataplane.create({
    ...A,
    vni: 1,
    mtu: MTU,
    address: hostOf(A),
    underlay: A.endpoint,
  });
  dp.setPeers([B, C]);
  return dp;
}
