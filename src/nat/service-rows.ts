/** The services as this node translates to them: each backend with its state and use. */
import { formatEndpoint } from "../address.js";
import type { NatDocument } from "./document.js";
import { Owners } from "./owners.js";
import type { Passes, ServiceRule } from "./rules.js";
import type { Backend, Service } from "./service.js";
import { BackendUses, placeInWords, type TranslatedFlow } from "./services.js";
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

/** @param ports the published ports of this node */
export function serviceRows(
  document: NatDocument,
  ports: readonly ServiceRule[],
  { members, living }: NatNodes,
  flows: readonly TranslatedFlow[],
  passes: Passes,
): ServiceRow[] {
  const owners = new Owners(members);
  const uses = new BackendUses(flows);
  const rowOf = (
    service: Pick<Service, "name" | "protocol" | "address" | "port">,
    kind: ServiceRow["kind"],
    backends: readonly Backend[],
    passing: (backend: Backend) => boolean,
  ): ServiceRow => ({
    name: service.name,
    kind,
    ...placeInWords(service),
    backends: backends.map((backend) => {
      const node = owners.of(backend.address) ?? null;
      const isDead = node !== null && !living.has(node);
      return {
        to: formatEndpoint(backend),
        node,
        weight: backend.weight,
        state: isDead ? "dead" : stateOf(backend, passing),
        ...uses.of(service, backend),
      };
    }),
  });
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
