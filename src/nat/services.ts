/** The services of a node, with the use of their backends. */
import { type Endpoint, formatAddress, formatEndpoint } from "../address.js";
import type { NatRules, ServiceRule } from "../compile/nat-rules.js";
import type { FlowEnds, FlowView } from "../core/flows.js";
import { protocolName } from "../protocol.js";

export interface ServiceView {
  /** Name of the service; of a published port: `ADDRESS:PORT/PROTOCOL`. */
  readonly name: string;
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
  readonly backends: readonly BackendView[];
}

/** Counts are those of the live connections of this node. */
export interface BackendView {
  /** `ip:port` */
  readonly to: string;
  readonly weight: number;
  /** Whether it gets new flows. */
  readonly isActive: boolean;
  readonly flows: number;
  /** Bytes to the backend and back. */
  readonly bytes: number;
}

export function servicesOf(
  { services }: NatRules,
  flows: readonly TranslatedFlow[],
): ServiceView[] {
  const uses = new BackendUses(flows);
  return services.map((service) => ({
    name: service.name,
    ...placeInWords(service),
    backends: service.backends.map((backend) => ({
      to: formatEndpoint(backend),
      weight: backend.weight,
      isActive: backend.isActive,
      ...uses.of(service, backend),
    })),
  }));
}

type Place = Pick<ServiceRule, "protocol" | "address" | "port">;

export const placeInWords = ({ protocol, address, port }: Place) => ({
  protocol: protocolName(protocol)!,
  address: formatAddress(address),
  port,
});

/** A connection, as far as its use of a backend needs. */
export type TranslatedFlow = Pick<
  FlowView<unknown>,
  "protocol" | "dst" | "dport" | "bytes" | "replyBytes" | "onward"
>;

/** The live connections of each backend: their number, and bytes in both directions. */
export class BackendUses {
  readonly #uses = new Map<string, { flows: number; bytes: number }>();

  constructor(flows: readonly TranslatedFlow[]) {
    for (const flow of flows) {
      if (!flow.onward) continue;
      const key = keyOf(flow, flow.onward);
      const { flows, bytes } = this.#uses.get(key) ?? NONE;
      this.#uses.set(key, { flows: flows + 1, bytes: bytes + flow.bytes + flow.replyBytes });
    }
  }

  of(service: Place, backend: Endpoint): Pick<BackendView, "flows" | "bytes"> {
    const { protocol, address: dst, port: dport } = placeInWords(service);
    const to = { dst: formatAddress(backend.address), dport: backend.port };
    return this.#uses.get(keyOf({ protocol, dst, dport }, to)) ?? NONE;
  }
}

const NONE = { flows: 0, bytes: 0 };

const keyOf = (
  { protocol, dst, dport }: Pick<TranslatedFlow, "protocol" | "dst" | "dport">,
  to: Pick<FlowEnds, "dst" | "dport">,
): string => `${protocol} ${dst} ${dport} ${to.dst} ${to.dport}`;
