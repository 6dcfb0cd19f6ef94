/** A workload of a host: a network namespace with addresses of the host's lease, behind a veth. */
import type { Host } from "../../src/lab/namespace.js";
import type { Finished, RunningProgram } from "../../src/lab/running.js";

/** Where a workload sends everything; its host answers for it. */
const GATEWAY = { 4: "169.254.1.1", 6: "fe80::ee" } as const;

export class Workload {
  private constructor(
    readonly host: Host,
    /** The name of its interface on the host. */
    readonly device: string,
    readonly address: string,
    readonly address6: string,
    readonly process: RunningProgram,
  ) {}

  /** @param device a name for its interface on the host */
  static async start(
    host: Host,
    device: string,
    { address, address6 }: { address: string; address6: string },
  ): Promise<Workload> {
    const process = host.spawn(["unshare", "--net", "sleep", "3600"]);
    const workload = new Workload(host, device, address, address6, process);
    await workload.#plug();
    return workload;
  }

  /** Runs a program in it; a failure is not an error. */
  run(argv: readonly string[], limitMs = 30_000): Promise<Finished> {
    return this.host.run(this.#inside(argv), { limitMs });
  }

  spawn(argv: readonly string[]): RunningProgram {
    return this.host.spawn(this.#inside(argv));
  }

  /** Whether one of some pings is answered. */
  async reaches(address: string, count = 2): Promise<boolean> {
    const { code } = await this.run([
      "ping",
      "-n",
      "-i",
      "0.2",
      "-c",
      `${count}`,
      "-W",
      "1",
      address,
    ]);
    return code === 0;
  }

  #inside(argv: readonly string[]): string[] {
    return ["nsenter", "--target", `${this.process.pid}`, "--net", "--", ...argv];
  }

  async #plug(): Promise<void> {
    const { host, device, address, address6 } = this;
    await this.#unshared();
    await host.ip(
      `link add ${device} type veth peer name eth0 netns ${this.process.pid}`,
      `link set ${device} addrgenmode none up`,
      `address add ${GATEWAY[6]}/64 dev ${device} nodad`,
      `route add ${address}/32 dev ${device}`,
      `route add ${address6}/128 dev ${device}`,
    );
    await host.sysctl(`net/ipv4/conf/${device}/proxy_arp`, 1);
    await host.sysctl(`net/ipv4/conf/${device}/rp_filter`, 1);
    const input = [
      "link set lo up",
      "link set eth0 addrgenmode none up",
      `address add ${address}/32 dev eth0`,
      `address add ${address6}/128 dev eth0 nodad`,
      `route add ${GATEWAY[4]} dev eth0 scope link`,
      `route add default via ${GATEWAY[4]} dev eth0`,
      `address add fe80::5/64 dev eth0 nodad`,
      `route add default via ${GATEWAY[6]} dev eth0`,
    ].join("\n");
    await host.exec(this.#inside(["ip", "-batch", "-"]), { input });
  }

  /** Waits until the process has its own network namespace. */
  async #unshared(): Promise<void> {
    const of = (process: string) => this.host.exec(["readlink", `/proc/${process}/ns/net`]);
    const own = await of("self");
    while ((await of(`${this.process.pid}`)) === own);
  }
}
