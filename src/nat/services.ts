/** The services of a node, with the use of their backends. */
import { formatAddress, formatEndpoint } from "../address.js";
import type { NatRules, ServiceRule } from "../compile/nat-rules.js";
import type { FlowView } from "../core/flows.js";
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
  flows: readonly FlowView<unknown>[],
): ServiceView[] {
  const translated = flows.filter(({ onward }) => onward !== undefined);
  return services.map((service) => serviceView(service, translated));
}

function serviceView(
  { name, protocol, address, port, backends }: ServiceRule,
  flows: readonly FlowView<unknown>[],
): ServiceView {
  const own = { protocol: protocolName(protocol)!, address: formatAddress(address), port };
  const mine = flows.filter(
    (flow) => flow.protocol === own.protocol && flow.dst === own.address && flow.dport === own.port,
  );
  return {
    name,
    ...own,
    backends: backends.map((backend) => {
      const used = mine.filter(
        ({ onward }) =>
          onward!.dst === formatAddress(backend.address) && onward!.dport === backend.port,
      );
      return {
        to: formatEndpoint(backend),
        weight: backend.weight,
        isActive: backend.isActive,
        flows: used.length,
        bytes: used.reduce((sum, { bytes, replyBytes }) => sum + bytes + replyBytes, 0),
      };
    }),
  };
}
