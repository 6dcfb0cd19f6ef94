import { pairsOf } from "../../src/demo/pairs.js";
import type { PeerRow } from "../../src/http/view.js";
import type { AgentOptions, AgentStatus, LabAgent } from "../../src/lab/agent.js";
import type { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";

/** Both families: every node leases an IPv4 and an IPv6 subnet. */
export const DUAL_STACK = ["--network", "10.244.0.0/16,fd00:244::/48"];

/** A host with a healthy agent on it. */
export interface Node {
  readonly host: Host;
  readonly agent: LabAgent;
  readonly status: AgentStatus;
}

/** Agents on hosts of these names, made if need be; each joins the one before it. */
export async function cluster(
  lab: Lab,
  names: readonly string[],
  options: Omit<AgentOptions, "join"> = {},
): Promise<Node[]> {
  const hosts: Host[] = [];
  for (const name of names) {
    hosts.push(lab.hosts.find((host) => host.name === name) ?? (await lab.host(name)));
  }
  return await agentsOn(lab, hosts, () => options);
}

/** The same, on hosts that are there; all healthy and all knowing all. */
export async function agentsOn(
  lab: Lab,
  hosts: readonly Host[],
  optionsOf: (host: Host) => Omit<AgentOptions, "join">,
): Promise<Node[]> {
  const agents: LabAgent[] = [];
  for (const host of hosts) {
    const previous = agents.at(-1);
    const agent = lab.agent(host, {
      ...optionsOf(host),
      ...(previous && { join: [previous.host] }),
    });
    await agent.waitHealthy();
    agents.push(agent);
  }
  return await Promise.all(
    agents.map(async (agent) => {
      const status = await agent.waitHealthy({ peers: hosts.length - 1 });
      return { host: agent.host, agent, status };
    }),
  );
}

/** The node's overlay address of that family. */
export function addressOf({ status }: Node, family: 4 | 6): string {
  const address = status.addresses.find((it) => it.includes(":") === (family === 6));
  if (address === undefined) throw new Error(`${status.name} has no IPv${family} address`);
  return address;
}

/** All that an agent could leave on a host: devices, addresses, routes, rules, proxies, tables, listening sockets. */
export async function traces(host: Host): Promise<string> {
  const asked = [
    ["ip", "-o", "link"],
    ["ip", "-o", "addr"],
    ["ip", "route", "show", "table", "all"],
    ["ip", "rule"],
    ["ip", "-6", "rule"],
    ["ip", "neigh", "show", "proxy"],
    ["nft", "--stateless", "list", "ruleset"],
    ["ss", "-Hlntu"],
  ];
  return (await Promise.all(asked.map((argv) => host.exec(argv)))).join("\n");
}

/** Every node can ping every other, now or within the limit; each pair until it was answered once. */
export async function allAnswer(nodes: readonly Node[], limitMs = 20_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  const answered = async ([from, to]: readonly [Node, Node]) => {
    for (;;) {
      const { rttMs, output } = await ping(from.host, to.status.address, { count: 1 });
      if (rttMs.length > 0) return;
      if (Date.now() > deadline) {
        throw new Error(`${from.host.name} gets no answer from ${to.host.name}\n${output}`);
      }
    }
  };
  await Promise.all(pairsOf(nodes).map(answered));
}

/** What this node says of each other one, by name. */
export async function peersOf({ agent }: Pick<Node, "agent">): Promise<Map<string, PeerRow>> {
  const rows = (await agent.get<PeerRow[]>("/v1/peers")) ?? [];
  return new Map(rows.map((row) => [row.name, row]));
}
