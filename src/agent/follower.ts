/**
 * Brings dataplane and host to what the mesh says: one change at a time, in order.
 *
 *   members, policy -> tables of the core
 *   own lease -------> address and routes of the device
 *   translations ----> routes of services, nftables table, egress addresses
 */
import {
  type Address,
  bits,
  covers,
  firstHost,
  formatAddress,
  type Prefix,
  parsePrefix,
  prefixOf,
} from "../address.js";
import { HAIRPIN_ADDRESS } from "../compile/hairpin.js";
import { type Config, underlayOutside } from "../config/config.js";
import type { Publisher } from "../core/publish.js";
import { attempt, ownMistake, type WeftError } from "../error.js";
import { type Coverage, CoverageView, NO_WORKLOADS, unseenInWords } from "../explain/coverage.js";
import {
  type Conflict,
  conflictError,
  conflictProblems,
  findConflicts,
  isFatal,
} from "../host/conflict.js";
import { type OwnDevice, recoverDevice } from "../host/device.js";
import { EgressAddresses } from "../host/egress.js";
import { Link } from "../host/link.js";
import { HostNat } from "../host/nft.js";
import { ThroughCore } from "../host/through-core.js";
import type { UnderlayWatch } from "../host/underlay-watch.js";
import { UnreachableRoutes } from "../host/unreachable.js";
import { findWorkloadInterfaces } from "../host/workload-interfaces.js";
import { findCoverage } from "../host/workload-routes.js";
import type { KernelIo } from "../io/kernel.js";
import type { Logger } from "../logging/log.js";
import type { Mesh } from "../mesh/mesh.js";
import type { NatHostRules } from "../nat/host-rules.js";
import type { Tables } from "./tables.js";

/** The remedy for unreachable routes that are not as they should be. */
const RESTORE_ROUTES =
  "the next start sets them right; or remove them with: ip route flush proto 119; ip -6 route flush proto 119";

const RESTORE_RULES =
  "the next start sets them right; or remove them: ip rule; ip -6 rule; ip route flush table 6784; ip -6 route flush table 6784";
/** Interfaces that notes name. */
const MAX_NOTES = 4;

const portNote = ({ name, master }: { readonly name: string; readonly master: string }): string =>
  `weft does not see the packets of ${name} as those of a workload: it is a port of ${master}; name ${master} in --workload-interfaces, and note that packets between its ports never leave it`;

export interface FollowerParts {
  /** The cluster: what this node owns. */
  readonly mesh: Pick<Mesh, "self">;
  readonly tables: Pick<Tables, "natHostRules" | "update">;
  /** Takes the addresses that ICMP answers come from. */
  readonly publisher: Pick<Publisher, "setAddress">;
  /** The overlay device. */
  readonly io: OwnDevice & Pick<KernelIo, "mtu">;
  readonly watch: Pick<UnderlayWatch, "problem" | "underlay">;
  readonly log: Pick<Logger, "error" | "info" | "warn">;
  /** The follower cannot go on. */
  fail(error: WeftError): void;
}

export type FollowerOptions = Pick<
  Config,
  | "join"
  | "meshPort"
  | "port"
  | "state"
  | "staticPeers"
  | "throughCore"
  | "tun"
  | "workloadInterfaces"
>;

export class Follower {
  readonly #parts: FollowerParts;
  readonly #options: FollowerOptions;
  readonly #unreachable: UnreachableRoutes;
  readonly #throughCore: ThroughCore;
  readonly #nat: HostNat;
  readonly #egress = new EgressAddresses();
  #link: Link | undefined;
  #problems: readonly string[] = [];
  #warnings: readonly string[] = [];
  #notes: readonly string[] = [];
  #coverage: Coverage = NO_WORKLOADS;
  #applying: Promise<void> = Promise.resolve();
  /** Something changed since the mesh was last followed, and that will be seen to. */
  #isWaiting = false;
  #stopped = false;

  constructor(parts: FollowerParts, options: FollowerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#unreachable = new UnreachableRoutes(options.state);
    this.#throughCore = new ThroughCore(options.state);
    this.#nat = new HostNat(options.state, options);
  }

  /** Why not all is as the mesh says: one sentence each. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Sentences about settings that an operator may want to change, though all is as the mesh says. */
  get notes(): readonly string[] {
    const unseen = new CoverageView(this.#coverage).unseen();
    return [...this.#notes, ...this.#egress.notes, ...unseen.map(unseenInWords)];
  }

  /** The packets of workloads that the core sees, as of the last look. */
  get coverage(): Coverage {
    return this.#coverage;
  }

  /** The same, as of now. @throws WeftError IP */
  async lookAtWorkloads(): Promise<Coverage> {
    const { tun: device, throughCore } = this.#options;
    const interfaces = throughCore ? (await this.#workloadInterfaces()).names : [];
    const [leases, routed] = [this.#leases(), this.routed()];
    this.#coverage = await findCoverage({ device, leases, routed, throughCore, interfaces });
    return this.#coverage;
  }

  /** Those that the device has. */
  get addresses(): readonly Address[] {
    return this.#link?.addresses ?? [];
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

  /** Resolves when all changes known at the call are applied. */
  async idle(): Promise<void> {
    await this.#applying;
  }

  /** Ends following. The host keeps its addresses and routes until `remove`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#applying.catch(() => {});
  }

  /** Takes the addresses off the device: the lease may be another node's by now. */
  async remove(): Promise<void> {
    for (const it of await this.#egress.set([])) this.#parts.log.error(it);
    const device = this.#parts.io.deviceName();
    if (device !== undefined) await this.#link?.remove(device);
    this.#link = undefined;
  }

  /** From now on packets for the overlay, and those of workloads, take the host's other routes. */
  async openRoutes(): Promise<void> {
    for (const it of await this.#nat.set(undefined)) this.#parts.log.error(it);
    for (const it of await this.#throughCore.set(undefined)) {
      this.#parts.log.error(`packets of workloads are refused: ${it}; ${RESTORE_RULES}`);
    }
    for (const it of await this.#unreachable.remove()) {
      this.#parts.log.error(
        `this host goes on refusing packets for the overlay: ${it}; ${RESTORE_ROUTES}`,
      );
    }
  }

  /** Restores the rules and unreachable routes that an earlier agent had left before this one began. */
  async restoreRoutes(): Promise<void> {
    for (const it of await this.#nat.restore()) this.#parts.log.error(it);
    for (const it of await this.#throughCore.restore()) {
      this.#parts.log.error(`rules are not as before the start: ${it}; ${RESTORE_RULES}`);
    }
    for (const it of await this.#unreachable.restore()) {
      this.#parts.log.error(
        `unreachable routes are not as before the start: ${it}; ${RESTORE_ROUTES}`,
      );
    }
  }

  /** @throws WeftError CONFLICT if it is certain that routes of this host leave the node without packets */
  async refuseConflicts(): Promise<void> {
    const fatal = (await this.#conflicts(this.routed())).find((it) => isFatal(it, this.addresses));
    if (fatal) throw conflictError(fatal, this.#options.tun);
  }

  /** Routes of this host that take packets away from the device; none before it has its own. */
  async #conflicts(routed: readonly Prefix[]): Promise<Conflict[]> {
    if (!this.#link) return [];
    const { tun: device } = this.#options;
    return await findConflicts({ device, routed, leases: this.#leases() });
  }

  async #followNow(): Promise<void> {
    const { problem } = this.#parts.watch;
    const trouble = problem ? [problem] : [];
    trouble.push(...(await attempt(() => this.#apply(trouble))));
    this.#report(trouble);
  }

  async #apply(trouble: string[]): Promise<void> {
    const { tables, io } = this.#parts;
    const failed = await attempt(() => this.#removeLostAddresses());
    trouble.push(...failed, ...tables.update());
    const nat = tables.natHostRules();
    const hasIpv4 = this.#network().some(({ family }) => family === 4);
    const sources = nat.hairpins && hasIpv4 ? [HAIRPIN_ADDRESS] : [];
    const services = this.#outside([...nat.serviceAddresses, ...sources]);
    trouble.push(...(await this.#setUnreachable(services)));
    await this.#recoverDevice();
    if (!this.#link || failed.length > 0) return;
    const translated = [...services, ...this.#outside(nat.egressAddresses)];
    const beyond = [...this.#staticSubnetsOutside(), ...translated];
    trouble.push(...(await this.#link.set(beyond, io.mtu.most)));
    this.#warn(await this.#link.acceptOwnSource());
    trouble.push(...(await attempt(() => this.#leadWorkloads(nat))));
    trouble.push(...(await attempt(() => this.#lookAgain())));
    trouble.push(...(await this.#egress.set(nat.egressAddresses)));
    const conflicts = await this.#conflicts([...this.routed(), ...translated]);
    trouble.push(...conflictProblems(conflicts, this.#options.tun));
  }

  /** Takes addresses that are no longer this node's off the device. */
  async #removeLostAddresses(): Promise<void> {
    const addresses = addressesIn(this.#network(), this.#leases());
    const [before, after] = [this.addresses, addresses].map((all) => all.map(formatAddress).join());
    if (before === after) return;
    await this.remove();
    if (addresses.length > 0) this.#useAddresses(addresses);
  }

  async #recoverDevice(): Promise<void> {
    const { io, log } = this.#parts;
    const mended = await recoverDevice(io, this.#options.tun);
    if (mended !== undefined) log.warn(mended);
  }

  /** The device is to have these addresses; the link sets what of it lacks, and `remove` undoes it. */
  #useAddresses(addresses: readonly Address[]): void {
    const { io, log, watch, publisher } = this.#parts;
    const { tun: device } = this.#options;
    const network = this.#network();
    underlayOutside({ ...this.#options, network, networkGiven: true }, watch.underlay.prefix);

    for (const address of addresses) publisher.setAddress(address);
    this.#link = new Link({ device, addresses, network });
    const all = addresses.map(formatAddress).join(" and ");
    log.info(`this node is ${all} on ${device}, MTU ${io.mtu.most}`);
  }

  /**
   * A packet that the core writes for an address that no workload has would come back to the device.
   * These routes refuse it.
   */
  #leasesUnrouted(): Prefix[] {
    return this.#options.throughCore ? this.#leases() : [];
  }

  /**
   * Sets unreachable routes for the prefixes that are routed to the device, for when it is gone.
   * Before the network is known, those of an earlier agent stay.
   */
  async #setUnreachable(services: readonly Prefix[]): Promise<string[]> {
    const network = this.#network();
    if (network.length === 0) return [];
    const families = network.map(({ family }) => family);
    const routed = [...this.#staticSubnetsOutside(), ...services].filter(({ family }) =>
      families.includes(family),
    );
    return await this.#unreachable.set([...network, ...routed, ...this.#leasesUnrouted()]);
  }

  /** Leads packets of workloads to the device, and has the kernel translate its part. */
  async #leadWorkloads({ ports, masqueradeOutside }: NatHostRules): Promise<string[]> {
    const { throughCore, tun: device } = this.#options;
    const network = this.#network();
    const workloads = throughCore ? await this.#workloadInterfaces() : undefined;
    const interfaces = workloads?.names;
    const trouble = await this.#throughCore.set(interfaces && { device, network, interfaces });
    const translation = { device, network, leases: this.#leases(), addresses: this.addresses };
    const untranslated = await this.#nat.set({
      ...translation,
      ports,
      masqueradeOutside,
      interfaces,
    });
    // Without a translation of its own, weft keeps connections apart for those of others only.
    const isProblem = ports.length > 0 || masqueradeOutside;
    this.#notes = [...(workloads?.notes ?? []), ...(isProblem ? [] : untranslated)];
    return [...trouble, ...(isProblem ? untranslated : [])];
  }

  async #workloadInterfaces(): Promise<{ names: readonly string[]; notes: readonly string[] }> {
    const excluded = [this.#options.tun, this.#parts.watch.underlay.device];
    const found = await findWorkloadInterfaces(this.#options.workloadInterfaces, excluded);
    return { names: found.names, notes: found.ports.slice(0, MAX_NOTES).map(portNote) };
  }

  async #lookAgain(): Promise<string[]> {
    await this.lookAtWorkloads();
    return [];
  }

  /** Subnets of static peers that the route to the cluster network does not cover. */
  #staticSubnetsOutside(): Prefix[] {
    const network = this.#network();
    return this.#options.staticPeers
      .flatMap(({ leases }) => leases.map(parsePrefix))
      .filter((prefix) => !network.some((whole) => covers(whole, prefix)));
  }

  /** Addresses that the route to the cluster network does not cover, as prefixes. */
  #outside(addresses: readonly Address[]): Prefix[] {
    const network = this.#network();
    return addresses
      .map((it) => prefixOf(it, bits(it.family)))
      .filter((prefix) => !network.some((whole) => covers(whole, prefix)));
  }

  #leases(): Prefix[] {
    return this.#parts.mesh.self().leases.map(parsePrefix);
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
