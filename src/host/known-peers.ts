/** Addresses of peers that are known before the mesh is: of the configuration, and of an earlier run. */
import { lookup } from "node:dns/promises";
import { setTimeout as after } from "node:timers/promises";
import { type Address, parseAddress, parseEndpoint } from "../address.js";
import type { Config } from "../config/config.js";
import { WeftError } from "../error.js";
import { FileStore } from "../state/store-file.js";

/** How long a name service may take, in milliseconds: it may not be there yet at boot. */
const LOOKUP_WITHIN = 2_000;

/** Asks the host's name service, which may take half a minute to say that none answers. */
export type Resolve = (name: string) => Promise<readonly { readonly address: string }[]>;

/** Those that a node with this configuration and state dials, and its static peers. */
export async function knownPeers(config: Config): Promise<Address[]> {
  const remembered = new FileStore(config.state).load()?.remembered ?? [];
  const joined = await new JoinHosts(config.join).addresses();
  return [...joined, ...remembered.flatMap(hostIn), ...staticOf(config)];
}

export const staticOf = ({ staticPeers }: Pick<Config, "staticPeers">): Address[] =>
  staticPeers.flatMap(({ endpoint }) => hostIn(endpoint));

/**
 * The hosts to join. Each name is looked up once at a time: Node runs two lookups at once, and those
 * of dials would wait behind all that take longer than they are waited for.
 */
export class JoinHosts {
  /** Lookups that still run, by name. */
  readonly #running = new Map<string, Promise<Address[]>>();
  readonly #hosts: Config["join"];
  readonly #resolve: Resolve;

  constructor(hosts: Config["join"], resolve: Resolve = (name) => lookup(name, { all: true })) {
    this.#hosts = hosts;
    this.#resolve = resolve;
  }

  /** A name that is not known, or not yet, stands for no address. */
  async addresses(): Promise<Address[]> {
    return (await Promise.all(this.#hosts.map(({ host }) => this.#addressesOf(host)))).flat();
  }

  async #addressesOf(host: string): Promise<Address[]> {
    const literal = read(() => parseAddress(host));
    if (literal.length > 0) return literal;
    const running = this.#running.get(host) ?? this.#lookUp(host);
    return await Promise.race([running, after(LOOKUP_WITHIN, [], { ref: false })]);
  }

  #lookUp(host: string): Promise<Address[]> {
    const answer = this.#resolve(host)
      .catch(() => [])
      .then((found) => found.flatMap(({ address }) => read(() => parseAddress(address))))
      .finally(() => this.#running.delete(host));
    this.#running.set(host, answer);
    return answer;
  }
}

/** The host of an endpoint, if it is an address. */
const hostIn = (endpoint: string): Address[] => read(() => parseEndpoint(endpoint).address);

function read(parse: () => Address): Address[] {
  try {
    return [parse()];
  } catch (error) {
    if (error instanceof WeftError) return [];
    throw error;
  }
}
