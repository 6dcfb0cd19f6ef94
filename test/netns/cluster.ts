import type { Agent, AgentStatus } from "../../src/lab/agent.js";
import type { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";

/** A host with a healthy agent on it. */
export interface Node {
  readonly host: Host;
  readonly agent: Agent;
  readonly status: AgentStatus;
}

/** Agents on `names`, each joining the one before it, all healthy and all knowing all. */
export async function cluster(lab: Lab, names: readonly string[]): Promise<Node[]> {
  const agents: Agent[] = [];
  for (const name of names) {
    const previous = agents.at(-1);
    const host = await lab.host(name);
    const agent = lab.agent(host, previous ? { join: [previous.host] } : {});
    await agent.waitHealthy();
    agents.push(agent);
  }
  return await Promise.all(
    agents.map(async (agent) => {
      const status = await agent.waitHealthy({ peers: names.length - 1 });
      return { host: agent.host, agent, status };
    }),
  );
}

/** All that an agent could leave on a host: devices, addresses, routes, rules, listening sockets. */
export async function traces(host: Host): Promise<string> {
  const asked = [
    ["ip", "-o", "link"],
    ["ip", "-o", "addr"],
    ["ip", "route", "show", "table", "all"],
    ["ip", "rule"],
    ["ss", "-Hlntu"],
  ];
  return (await Promise.all(asked.map((argv) => host.exec(argv)))).join("\n");
}
