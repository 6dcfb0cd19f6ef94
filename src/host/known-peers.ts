/** Addresses of peers that are known before the mesh is: of the configuration, and of an earlier run. */
import { lookup } from "node:dns/promises";
import { setTimeout as after } from "node:timers/promises";
import { type Address, parseAddress, parseEndpoint } from "../address.js";
import type { Config } from "../config.js";
import { WeftError } from "../error.js";
import { FileStore } from "../lease/store-file.js";

/** How long a name service may take, in milliseconds: it may not be there yet at boot. */
const LOOKUP_WITHIN = 2_000;

/** Those that a node with this configuration and state dials, and its static peers. */
export async function knownPeers(config: Config): Promise<Address[]> {
  const remembered = new FileStore(config.state).load()?.remembered ?? [];
  return [...(await joinAddresses(config)), ...remembered.flatMap(hostIn), ...staticOf(config)];
}

export const staticOf = ({ staticPeers }: Pick<Config, "staticPeers">): Address[] =>
  staticPeers.flatMap(({ endpoint }) => hostIn(endpoint));

/** The addresses of the hosts to join. A name that is not known stands for none. */
export async function joinAddresses({ join }: Pick<Config, "join">): Promise<Address[]> {
  return (await Promise.all(join.map(({ host }) => resolve(host)))).flat();
}

async function resolve(host: string): Promise<Address[]> {
  const [literal] = read(() => parseAddress(host));
  if (literal) return [literal];
  const found = lookup(host, { all: true }).catch(() => []);
  const answers = await Promise.race([found, after(LOOKUP_WITHIN, [], { ref: false })]);
  return answers.flatMap(({ address }) => read(() => parseAddress(address)));
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
