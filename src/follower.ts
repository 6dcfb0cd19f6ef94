/**
 * Brings dataplane and host to what the mesh says: one change at a time, in order.
 *
 *   members -> staged peers -> \
 *   policy -> enforcer ------->  tables of the core
 *   own lease ----------> address and routes of the device
 */
import {
  type Address,
  covers,
  firstHost,
  formatAddress,
  type Prefix,
  parseMac,
  parsePrefix,
} from "./address.js";
import type { ThisNode } from "./compile/compiler.js";
import { type Config, underlayOutside } from "./config/config.js";
import { setProfile } from "./core/flows.js";
import type { Core } from "./core/instance.js";
import type { Publisher } from "./core/publish.js";
import type { Seal } from "./documents/sealed-document.js";
import { attempt, ownMistake, type WeftError } from "./error.js";
import {
  type Conflict,
  conflictError,
  conflictProblems,
  findConflicts,
  isFatal,
} from "./host/conflict.js";
import { type OwnDevice, recoverDevice } from "./host/device.js";
import { Link } from "./host/link.js";
import type { UnderlayWatch } from "./host/underlay-watch.js";
import { UnreachableRoutes } from "./host/unreachable.js";
import type { KernelIo } from "./io/kernel.js";
import type { Logger } from "./logging/log.js";
import type { Mesh } from "./mesh/mesh.js";
import { Enforcer } from "./policy/enforcer.js";
import type { PolicyCompiler } from "./policy/engine.js";
import { POLICY } from "./policy/kind.js";
import type { Members } from "./policy/resolver.js";

/** The remedy for unreachable routes that are not as they should be. */
const RESTORE_ROUTES =
  "the next start sets them right; or remove them with: ip route flush proto 119; ip -6 route flush proto 119";

export interface FollowerParts {
  /** The cluster: what this node owns, the peers, the policy. */
  readonly mesh: Pick<
    Mesh,
    "self" | "peer" | "takeChanged" | "document" | "knowsDocument" | "enforces"
  >;
  readonly core: Core;
  readonly publisher: Publisher;
  readonly policies: PolicyCompiler;
  /** The overlay device. */
  readonly io: OwnDevice & Pick<KernelIo, "mtu">;
  readonly watch: Pick<UnderlayWatch, "problem" | "underlay">;
  readonly log: Logger;
  /** The follower cannot go on. */
  fail(error: WeftError): void;
}

export class Follower {
  readonly enforcer: Enforcer;
  /** Never becomes false again, whatever policies come. */
  #isPolicyKnown = false;
  readonly #parts: FollowerParts;
  readonly #config: Config;
  readonly #unreachable: UnreachableRoutes;
  #link: Link | undefined;
  #problems: readonly string[] = [];
  #warnings: readonly string[] = [];
  #applying: Promise<void> = Promise.resolve();
  /** Something changed since the mesh was last followed, and that will be seen to. */
  #isWaiting = false;
  #stopped = false;

  constructor(parts: FollowerParts, config: Config) {
    this.#parts = parts;
    this.#config = config;
    this.enforcer = new Enforcer(parts.policies, () => this.follow());
    this.#unreachable = new UnreachableRoutes(config.state);
  }

  /** Why not all is as the mesh says: one sentence each. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Whether packets pass: the policy is in force, or it is known that there is none. */
  get isPolicyKnown(): boolean {
    return this.#isPolicyKnown;
  }

  /** Those that the device has. */
  get addresses(): readonly Address[] {
    return this.#link?.addresses ?? [];
  }

  own(): ThisNode {
    const { mesh, io } = this.#parts;
    const { mac, leases } = mesh.self();
    const { vni, dscp } = this.#config;
    const mtu = io.mtu.most;
    return { vni, mac: parseMac(mac), mtu, leases: leases.map(parsePrefix), dscp };
  }

  /** The leases of each node by its name: policies mean them by that name. */
  members(): Members {
    const peers = [...this.#parts.publisher.staged()];
    return new Map([
      ...peers.map(({ name, leases }) => [name, leases.map(parsePrefix)] as const),
      [this.#config.name, this.own().leases],
    ]);
  }

  /** The prefixes that are routed to the device: the cluster network, and subnets of static peers beyond it. */
  routed(): Prefix[] {
    return [...this.#network(), ...this.#staticSubnetsOutside()];
  }

  /** Soon all is as the mesh says now. */
  follow(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#applying = this.#applying.then(async () => {
      this.#isWaiting = false;
      if (!this.#stopped) await this.#followNow();
    });
    this.#applying.catch((error: Error) => this.#parts.fail(ownMistake(error)));
  }

  /** Settles when what was to be followed is. */
  async idle(): Promise<void> {
    await this.#applying;
  }

  /** Follows no more. What the host has, it keeps until `remove`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#applying.catch(() => {});
  }

  /** Takes the addresses off the device: the lease may be another node's by now. */
  async remove(): Promise<void> {
    const device = this.#parts.io.deviceName();
    if (device !== undefined) await this.#link?.remove(device);
    this.#link = undefined;
  }

  /** From now on packets for the overlay take the host's other routes, which may be the default route. */
  async openRoutes(): Promise<void> {
    for (const it of await this.#unreachable.remove()) {
      this.#parts.log.error(
        `this host goes on refusing packets for the overlay: ${it}; ${RESTORE_ROUTES}`,
      );
    }
  }

  /** Restores the unreachable routes that an earlier agent had left before this one began. */
  async restoreRoutes(): Promise<void> {
    for (const it of await this.#unreachable.restore()) {
      this.#parts.log.error(
        `unreachable routes are not as before the start: ${it}; ${RESTORE_ROUTES}`,
      );
    }
  }

  /** @throws WeftError CONFLICT if it is certain that routes of this host leave the node without packets */
  async refuseConflicts(): Promise<void> {
    const fatal = (await this.#conflicts()).find((it) => isFatal(it, this.addresses));
    if (fatal) throw conflictError(fatal, this.#config.tun);
  }

  /** Routes of this host that take packets away from the device; none before it has its own. */
  async #conflicts(): Promise<Conflict[]> {
    if (!this.#link) return [];
    const { tun: device } = this.#config;
    return await findConflicts({ device, routed: this.routed(), leases: this.own().leases });
  }

  async #followNow(): Promise<void> {
    const { problem } = this.#parts.watch;
    const trouble = problem ? [problem] : [];
    trouble.push(...(await attempt(() => this.#apply(trouble))));
    this.#report(trouble);
  }

  async #apply(trouble: string[]): Promise<void> {
    const { mesh, publisher, io } = this.#parts;
    const unsettled = await attempt(() => this.#removeLostAddresses());
    for (const id of mesh.takeChanged()) publisher.stage(id, mesh.peer(id));
    trouble.push(...unsettled, ...publisher.conflicts, ...this.#publish());
    trouble.push(...(await this.#setUnreachable()));
    await this.#recoverDevice();
    if (!this.#link || unsettled.length > 0) return;
    trouble.push(...(await this.#link.set(this.#staticSubnetsOutside(), io.mtu.most)));
    this.#warn(await this.#link.acceptOwnSource());
    trouble.push(...conflictProblems(await this.#conflicts(), this.#config.tun));
  }

  /**
   * Publishes peers and policy in one swap, so that the rules about a peer are in force before its
   * first packet. Peers and leases that the ready rules do not cover wait for the rules being
   * compiled.
   */
  #publish(): string[] {
    const { core, publisher, mesh } = this.#parts;
    const own = this.own();
    publisher.commit(
      { ...own, leases: this.enforcer.leases },
      this.enforcer.ready,
      ({ name, leases }) => this.enforcer.isUpToDate(name, leases.map(parsePrefix)),
    );
    this.enforcer.published();
    setProfile(core, this.enforcer.ready?.profile ?? "rfc");
    const isSettled = this.enforcer.want(mesh.document(POLICY), this.members(), own.leases);
    this.#isPolicyKnown ||= isSettled && mesh.knowsDocument(POLICY);
    publisher.setPolicyKnown(this.#isPolicyKnown);
    const { misfit } = this.enforcer;
    mesh.enforces(POLICY, this.#isPolicyKnown ? this.#inForce : undefined, {
      isMisfit: misfit !== undefined,
    });
    return misfit ? [`the policy is not in force: ${misfit.message}`] : [];
  }

  /** The cluster's policy that the core has; null for none. The same text applied again needs no compilation. */
  get #inForce(): Seal | null {
    const held = this.#parts.mesh.document(POLICY);
    const { inForce } = this.enforcer;
    const policy = held?.text === inForce?.text ? held : inForce;
    return policy?.seal ?? null;
  }

  /** Takes addresses that are no longer this node's off the device. */
  async #removeLostAddresses(): Promise<void> {
    const addresses = addressesIn(this.#network(), this.own().leases);
    const [before, after] = [this.addresses, addresses].map((all) => all.map(formatAddress).join());
    if (before === after) return;
    await this.remove();
    if (addresses.length > 0) this.#useAddresses(addresses);
  }

  async #recoverDevice(): Promise<void> {
    const { io, log } = this.#parts;
    const mended = await recoverDevice(io, this.#config.tun);
    if (mended !== undefined) log.warn(mended);
  }

  /** The device is to have these addresses; the link sets what of it lacks, and `remove` undoes it. */
  #useAddresses(addresses: readonly Address[]): void {
    const { io, log, watch, publisher } = this.#parts;
    const { tun: device } = this.#config;
    const network = this.#network();
    underlayOutside({ ...this.#config, network, networkGiven: true }, watch.underlay.prefix);

    for (const address of addresses) publisher.setAddress(address);
    this.#link = new Link({ device, addresses, network });
    const all = addresses.map(formatAddress).join(" and ");
    log.info(`this node is ${all} on ${device}, MTU ${io.mtu.most}`);
  }

  /**
   * Sets unreachable routes for the prefixes that are routed to the device, for when it is gone.
   * Before the network is known, those of an earlier agent stay.
   */
  async #setUnreachable(): Promise<string[]> {
    const network = this.#network();
    if (network.length === 0) return [];
    const families = network.map(({ family }) => family);
    const routed = this.#staticSubnetsOutside().filter(({ family }) => families.includes(family));
    return await this.#unreachable.set([...network, ...routed]);
  }

  /** Subnets of static peers that the route to the cluster network does not cover. */
  #staticSubnetsOutside(): Prefix[] {
    const network = this.#network();
    return this.#config.staticPeers
      .flatMap(({ leases }) => leases.map(parsePrefix))
      .filter((prefix) => !network.some((whole) => covers(whole, prefix)));
  }

  #network(): Prefix[] {
    return this.#parts.mesh.self().network.map(parsePrefix);
  }

  /** Logs what the node can live without, once for as long as it lasts. */
  #warn(warnings: readonly string[]): void {
    for (const it of warnings) if (!this.#warnings.includes(it)) this.#parts.log.warn(it);
    this.#warnings = warnings;
  }

  /** Trouble is said once in the log, and in `weft status` for as long as it lasts. */
  #report(trouble: readonly string[]): void {
    for (const problem of trouble) {
      if (!this.#problems.includes(problem)) this.#parts.log.warn(problem);
    }
    this.#problems = trouble;
  }
}

/** A node's address in each network is the first of the first lease it holds there. */
const addressesIn = (networks: readonly Prefix[], leases: readonly Prefix[]): Address[] =>
  networks.flatMap((network) => {
    const first = leases.find((lease) => covers(network, lease));
    return first ? [firstHost(first)] : [];
  });
