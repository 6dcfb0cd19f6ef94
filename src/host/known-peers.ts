/** Addresses of peers that are known before the mesh starts: from the configuration and from an earlier run. */
import { lookup } from "node:dns/promises";
import { setTimeout as after } from "node:timers/promises";
import { type Address, parseAddress, parseEndpoint } from "../address.js";
import type { Config } from "../config/config.js";
import { WeftError } from "../error.js";
import { FileStore } from "../state/store-file.js";

/** Milliseconds to wait for the name service, which may not run yet at boot. */
const LOOKUP_WITHIN = 2_000;

/** Asks the host's name service, which may take half a minute to report that none answers. */
export type Resolve = (name: string) => Promise<readonly { readonly address: string }[]>;

/** The addresses that a node with this configuration and state dials, and those of its static peers. */
export async function knownPeers(config: Config, signal: AbortSignal): Promise<Address[]> {
  const remembered = new FileStore(config.state).load()?.remembered ?? [];
  const joined = await new JoinHosts(config.join).addresses(signal);
  return [...joined, ...remembered.flatMap(hostIn), ...staticOf(config)];
}

export const staticOf = ({ staticPeers }: Pick<Config, "staticPeers">): Address[] =>
  staticPeers.flatMap(({ endpoint }) => hostIn(endpoint));

/**
 * The hosts to join. Each name has at most one lookup under way: Node runs two lookups at once, so
 * the lookups of dials would otherwise wait behind abandoned ones.
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

  /**
   * The addresses of all hosts; none for a name that is unknown or not resolved in time.
   * @throws the reason of `signal`, as soon as it is aborted
   */
  async addresses(signal: AbortSignal): Promise<Address[]> {
    const all = this.#hosts.map(({ host }) => this.#addressesOf(host, signal));
    return (await Promise.all(all)).flat();
  }

  async #addressesOf(host: string, signal: AbortSignal): Promise<Address[]> {
    const literal = read(() => parseAddress(host));
    if (literal.length > 0) return literal;
    const running = this.#running.get(host) ?? this.#lookUp(host);
    const late = after(LOOKUP_WITHIN, [], { ref: false, signal }).catch(() => {
      throw signal.reason;
    });
    return await Promise.race([running, late]);
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

/** The host of an endpoint, if it is an address and not a name. */
const hostIn = (endpoint: string): Address[] => read(() => parseEndpoint(endpoint).address);

function read(parse: () => Address): Address[] {
  try {
    return [parse()];
  } catch (error) {
    if (error instanceof WeftError) return [];
    throw error;
  }
}
