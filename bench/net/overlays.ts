/**
 * The overlays to compare: two hosts joined by weft, and two joined by the kernel's own VXLAN, set up as
 * flannel does.
 *
 * veth carries a large packet unsegmented, which no cable does. So each overlay is measured twice:
 * unchanged, and with the offloads forced off, so that every packet on the wire is a single packet.
 * Software segmentation inside weft stays on: it is part of the measurement.
 */
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addNeighbours, kernelVtep, turnOffloadsOff } from "../../src/lab/vtep.js";

/** Two hosts, and the overlay address of the second. */
export interface Overlay {
  readonly lab: Lab;
  readonly a: Host;
  readonly b: Host;
  readonly address: string;
  /** The programs that carry the packets; none for the kernel. */
  readonly agents: readonly LabAgent[];
}

export interface WeftOverlay extends Overlay {
  readonly agents: readonly [LabAgent, LabAgent];
}

export const overlays = {
  vxlan: "kernel VXLAN",
  weft: "weft",
  vxlanOff: "kernel VXLAN, offloads of its device and of the veth forced off",
  weftOff: "weft, offloads of the veth forced off",
} as const;

export type OverlayName = keyof typeof overlays;

export const open: Record<OverlayName, () => Promise<Overlay>> = {
  vxlan: () => vxlan("default"),
  weft: () => weft("default"),
  vxlanOff: () => vxlan("off"),
  weftOff: () => weft("off"),
};

type Offloads = "default" | "off";

/** @param node flags for Node itself, before the name of the program */
export function weft(offloads: Offloads, node: readonly string[] = []): Promise<WeftOverlay> {
  return inLab(async (lab) => {
    const [a, b] = [await lab.host("a"), await lab.host("b")];
    const first = lab.agent(a, { node });
    await first.waitHealthy();
    const second = lab.agent(b, { node, join: [a] });
    await first.waitHealthy({ peers: 1 });
    const { address } = await second.waitHealthy({ peers: 1 });
    if (offloads === "off") for (const host of [a, b]) await turnOffloadsOff(host, ["eth0"]);
    return { lab, a, b, address, agents: [first, second] };
  });
}

function vxlan(offloads: Offloads): Promise<Overlay> {
  return inLab(async (lab) => {
    const a = await kernelVtep(await lab.host("a"), { subnet: "10.244.1.0/24", offloads });
    const b = await kernelVtep(await lab.host("b"), { subnet: "10.244.2.0/24", offloads });
    await addNeighbours(a, b);
    await addNeighbours(b, a);
    return { lab, a: a.host, b: b.host, address: b.address, agents: [] };
  });
}

/** Makes an overlay in its own lab, which is closed if that fails. */
async function inLab<T>(make: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await Lab.open();
  try {
    return await make(lab);
  } catch (error) {
    await lab.close();
    throw error;
  }
}
