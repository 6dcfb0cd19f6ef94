/** The services as this node translates to them: each backend with its state and use. */
import { formatAddress, formatEndpoint } from "../address.js";
import { protocolName } from "../protocol.js";
import type { NatDocument } from "./document.js";
import { Owners } from "./owners.js";
import type { Passes, ServiceRule } from "./rules.js";
import type { Backend, Service } from "./service.js";
import type { NatNodes } from "./translator.js";

export interface ServiceRow {
  /** Of a service; of a port that this node publishes, `ADDRESS:PORT/PROTOCOL`. */
  readonly name: string;
  readonly kind: "service" | "port";
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
  readonly backends: readonly BackendRow[];
}

export interface BackendRow {
  /** `ADDRESS:PORT` */
  readonly to: string;
  /** The node that owns the address; null for one outside of the overlay. */
  readonly node: string | null;
  readonly weight: number;
  /**
   * `active` gets new flows; `drained` and `failing` (its check fails) keep those they have; a `dead`
   * node's backend has none.
   */
  readonly state: "active" | "drained" | "failing" | "dead";
  /** Live connections that this node translates to it. */
  readonly flows: number;
  /** Bytes of those connections, in both directions. */
  readonly bytes: number;
}

/** A connection, as far as its use of a backend needs. */
export interface TranslatedFlow {
  readonly protocol: string;
  readonly dst: string;
  readonly dport: number;
  readonly bytes: number;
  readonly replyBytes: number;
  /** The ends with which it goes on; absent where it is not translated. */
  readonly onward?: { readonly dst: string; readonly dport: number } | undefined;
}

/** @param ports the published ports of this node */
export function serviceRows(
  document: NatDocument,
  ports: readonly ServiceRule[],
  { members, living }: NatNodes,
  flows: readonly TranslatedFlow[],
  passes: Passes,
): ServiceRow[] {
  const owners = new Owners(members);
  const uses = usesOf(flows);
  const rowOf = (
    { name, protocol, address, port }: Pick<Service, "name" | "protocol" | "address" | "port">,
    kind: ServiceRow["kind"],
    backends: readonly Backend[],
    passing: (backend: Backend) => boolean,
  ): ServiceRow => {
    const place = { protocol: protocolName(protocol)!, address: formatAddress(address), port };
    return {
      name,
      kind,
      ...place,
      backends: backends.map((backend) => {
        const node = owners.of(backend.address) ?? null;
        const isDead = node !== null && !living.has(node);
        const to = { dst: formatAddress(backend.address), dport: backend.port };
        const key = keyOf({ protocol: place.protocol, dst: place.address, dport: port }, to);
        return {
          to: formatEndpoint(backend),
          node,
          weight: backend.weight,
          state: isDead ? "dead" : stateOf(backend, passing),
          ...(uses.get(key) ?? { flows: 0, bytes: 0 }),
        };
      }),
    };
  };
  return [
    ...document.services.map((service) =>
      rowOf(service, "service", service.backends, (backend) => passes(service, backend)),
    ),
    ...ports.map((rule) =>
      rowOf(
        rule,
        "port",
        rule.backends.map((to) => ({ ...to, drain: false })),
        () => true,
      ),
    ),
  ];
}

const stateOf = (backend: Backend, passing: (backend: Backend) => boolean): BackendRow["state"] => {
  if (backend.drain) return "drained";
  return passing(backend) ? "active" : "failing";
};

/** By service and backend. */
function usesOf(flows: readonly TranslatedFlow[]) {
  const uses = new Map<string, { flows: number; bytes: number }>();
  for (const flow of flows) {
    if (!flow.onward) continue;
    const key = keyOf(flow, flow.onward);
    const use = uses.get(key) ?? { flows: 0, bytes: 0 };
    use.flows++;
    use.bytes += flow.bytes + flow.replyBytes;
    uses.set(key, use);
  }
  return uses;
}

const keyOf = (
  { protocol, dst, dport }: Pick<TranslatedFlow, "protocol" | "dst" | "dport">,
  onward: NonNullable<TranslatedFlow["onward"]>,
): string => `${protocol} ${dst} ${dport} ${onward.dst} ${onward.dport}`;
