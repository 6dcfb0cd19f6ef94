/** The demo with root: hosts in namespaces on one bridge, with agents started as an operator would. */
import type { AgentStatus, LabAgent } from "../lab/agent.js";
import { Lab } from "../lab/lab.js";
import { iperf, ping } from "../lab/measure.js";
import type { Host } from "../lab/namespace.js";
import { answered, type PingPair, pairsOf, pairsTable } from "./pairs.js";
import { progress } from "./progress.js";

interface DemoHost {
  readonly host: Host;
  readonly agent: LabAgent;
  readonly status: AgentStatus;
}

const HOSTS = ["h1", "h2", "h3"] as const;
const TCP_SECONDS = 3;

export async function onHosts(): Promise<void> {
  const lab = await Lab.open();
  try {
    const nodes = await makeNodes(lab);
    const pairs = await pingAll(nodes);
    await measureTcp(nodes);
    const [first] = nodes;
    console.log(`\n$ weft status          on ${first!.host.name}`);
    console.log((await first!.agent.weft("status")).stdout.trimEnd());
    console.log(`\n${pairsTable(pairs)}\n`);
    if (!pairs.every(answered))
      throw new Error("not every ping was answered; the table says which");
  } finally {
    progress("clean up", "ending the agents, removing the namespaces");
    await lab.close();
  }
  progress("done", "nothing is left behind");
}

async function makeNodes(lab: Lab): Promise<DemoHost[]> {
  const hosts: Host[] = [];
  for (const name of HOSTS) hosts.push(await lab.host(name));
  progress("hosts", hosts.map(({ name, address }) => `${name} ${address}`).join("   "));

  const agents: LabAgent[] = [];
  for (const host of hosts) {
    const previous = agents.at(-1);
    progress(
      "agent",
      `${host.name} ${previous ? `joins ${previous.host.name}` : "founds the network"}`,
    );
    const agent = lab.agent(host, previous ? { join: [previous.host] } : {});
    await agent.waitHealthy();
    agents.push(agent);
  }
  const nodes: DemoHost[] = [];
  for (const agent of agents) {
    const status = await agent.waitHealthy({ peers: agents.length - 1 });
    nodes.push({ host: agent.host, agent, status });
  }
  progress(
    "healthy",
    nodes.map(({ host, status }) => `${host.name} ${status.address}`).join("   "),
  );
  return nodes;
}

async function pingAll(nodes: readonly DemoHost[]): Promise<PingPair[]> {
  const pairs: PingPair[] = [];
  for (const [a, b] of pairsOf(nodes)) {
    const { sent, rttMs } = await ping(a.host, b.status.address, {
      count: 5,
      intervalSeconds: 0.05,
    });
    pairs.push({ from: a.host.name, to: b.host.name, sent, rttMs });
    progress("ping", `${a.host.name} -> ${b.host.name}  ${rttMs.length} of ${sent} answered`);
  }
  return pairs;
}

async function measureTcp([a, b]: readonly DemoHost[]): Promise<void> {
  progress("tcp", `${a!.host.name} -> ${b!.host.name}  one flow, ${TCP_SECONDS} seconds`);
  const { bitsPerSecond } = await iperf(a!.host, b!.host, b!.status.address, {
    seconds: TCP_SECONDS,
  });
  const rate = (bitsPerSecond / 1e9).toFixed(2);
  progress("tcp", `${a!.host.name} -> ${b!.host.name}  ${rate} Gb/s through the overlay`);
}
