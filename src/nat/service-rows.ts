/** The services as this node translates to them: each backend with its state and use. */
import { formatEndpoint } from "../address.js";
import type { ServiceRule } from "../compile/nat-rules.js";
import type { NatDocument } from "./document.js";
import type { Down } from "./health.js";
import { Owners } from "./owners.js";
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
   * `active` gets new flows; `drained` and `down` (its check fails) keep those they have; a `dead`
   * node's backend has none.
   */
  readonly state: "active" | "drained" | "down" | "dead";
  /** Start of `down`, ISO 8601; null in every other state. */
  readonly since: string | null;
  /** The reason why the last check of a backend that is `down` failed; null in every other state. */
  readonly why: string | null;
  /** Live connections that this node translates to it. */
  readonly flows: number;
  /** Bytes of those connections, in both directions. */
  readonly bytes: number;
}

/**
 * @param ports the published ports of this node
 * @param downOf the state of a backend whose check fails
 */
export function serviceRows(
  document: NatDocument,
  ports: readonly ServiceRule[],
  { members, living }: NatNodes,
  flows: readonly TranslatedFlow[],
  downOf: (service: Service, backend: Backend) => Down | undefined,
): ServiceRow[] {
  const owners = new Owners(members);
  const uses = new BackendUses(flows);
  const rowOf = (
    service: Pick<Service, "name" | "protocol" | "address" | "port">,
    kind: ServiceRow["kind"],
    backends: readonly Backend[],
    down: (backend: Backend) => Down | undefined,
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
        ...stateOf(backend, isDead, down),
        ...uses.of(service, backend),
      };
    }),
  });
  return [
    ...document.services.map((service) =>
      rowOf(service, "service", service.backends, (backend) => downOf(service, backend)),
    ),
    ...ports.map((rule) =>
      rowOf(
        rule,
        "port",
        rule.backends.map((to) => ({ ...to, drain: false })),
        () => undefined,
      ),
    ),
  ];
}

function stateOf(
  backend: Backend,
  isDead: boolean,
  downOf: (backend: Backend) => Down | undefined,
): Pick<BackendRow, "state" | "since" | "why"> {
  if (isDead) return { state: "dead", ...NOT_DOWN };
  if (backend.drain) return { state: "drained", ...NOT_DOWN };
  const down = downOf(backend);
  if (!down) return { state: "active", ...NOT_DOWN };
  return { state: "down", since: new Date(down.since).toISOString(), why: down.why };
}

const NOT_DOWN = { since: null, why: null };
