/** All owners of a network together, compared with a slow model of the owner of each single lease. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import { clusterOf, inside } from "../../src/lease/genesis.js";
import { flawOfLease, type Grant, type Proof, subnetOf } from "../../src/lease/grant.js";
import { founder, identity, Owner } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";

const NODES = 10;
const small = clusterOf({
  network: [{ prefix: "10.0.0.0/20", leaseLength: 24 }],
  founder: founder.publicKey,
});

/** The slow, obvious model: for each lease of the network, the grants through which its owner got it. */
class Model {
  readonly #grants = new Map<string, Grant[]>(
    Array.from({ length: 16 }, (_, n) => [`10.0.${n}.0/24`, []]),
  );

  ownerOf(subnet: string): string {
    return this.#grants.get(subnet)!.at(-1)?.to ?? founder.publicKey;
  }

  given(grant: Grant): void {
    for (const [subnet, grants] of this.#grants) {
      if (!inside(grant.prefix, subnet)) continue;
      expect(this.ownerOf(subnet), `${subnet} was given by its owner`).toBe(grant.from);
      grants.push(grant);
    }
  }

  /** Gives everything that `holder` got from `granter`, directly or through others, back to the granter. */
  back(granter: string, holder: string, isMeant: (grants: readonly Grant[]) => boolean): void {
    for (const [subnet, grants] of this.#grants) {
      if (this.ownerOf(subnet) !== holder || !isMeant(grants)) continue;
      grants.splice(grants.findLastIndex(({ from }) => from === granter));
    }
  }
}

/** Ten nodes whose messages come late, twice, or not at all. */
class Town {
  readonly nodes = Array.from({ length: NODES }, (_, n) => {
    const node = new Owner(n === 0 ? founder : identity(n), small);
    node.wanted = 1 + (n % 3);
    node.crash();
    return node;
  });
  readonly model = new Model();
  readonly dead = new Set<Owner>();
  flying: { readonly to: Owner; readonly proofs: Proof[] }[] = [];
  readonly returning: {
    readonly from: Owner;
    readonly grants: string[];
    leases: readonly Proof[];
  }[] = [];
  readonly #seen = new Map<Owner, number>();

  /** Runs an action; an error of a full disk or network is ignored. */
  attempt<T>(act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return undefined;
    } finally {
      this.look();
    }
  }

  /** Tells the model of every grant that was written down. */
  look(): void {
    for (const node of this.nodes) {
      const { journal } = node.disk;
      for (const grant of journal.slice(this.#seen.get(node) ?? 0)) this.model.given(grant);
      this.#seen.set(node, journal.length);
    }
  }

  /** Gives a node the records of all others. */
  informed(node: Owner): Owner {
    node.claims = this.nodes.filter((other) => other !== node).flatMap(({ disk }) => disk.leases);
    return node;
  }

  ask(who: Owner, of: Owner, isLost: boolean): void {
    if (who === of || this.dead.has(who) || this.dead.has(of)) return;
    const have = who.ledger.receivedSignatures;
    const networks = small.genesis.network.map(({ prefix }) => prefix);
    const proofs = this.attempt(() =>
      this.informed(of).allocator.grant(who.identity.publicKey, networks, { have }),
    );
    if (!proofs || proofs instanceof WeftError) return;
    this.flying.push({ to: who, proofs });
    if (!isLost) this.land(this.flying.length - 1);
  }

  land(n: number): void {
    const answer = this.flying[n];
    if (!answer || this.dead.has(answer.to)) return;
    const { to, proofs } = answer;
    this.attempt(() => to.allocator.accept(proofs));
    this.attempt(() => this.informed(to).allocator.takeLeases());
    if (to.ledger.incompleteNetworks.length === 0) this.attempt(() => to.revocations.dropUnused());
  }

  grantersOf({ ledger }: Owner): Owner[] {
    return this.nodes.filter(({ identity }) => ledger.granters.has(identity.publicKey));
  }

  leave(who: Owner): void {
    if (this.dead.has(who) || this.grantersOf(who).some((granter) => this.dead.has(granter)))
      return;
    const { leases } = who.disk;
    const grants = this.attempt(() => who.revocations.releaseAll());
    const signatures = grants?.map(({ signature }) => signature);
    if (signatures) this.returning.push({ from: who, grants: signatures, leases });
  }

  back(n: number): void {
    const { from, grants, leases } = this.returning[n] ?? {};
    if (!from || !grants || !leases) return;
    const holder = from.identity.publicKey;
    for (const node of this.nodes.filter((one) => !this.dead.has(one))) {
      const mine = (chain: readonly Grant[]) =>
        chain.some(({ from, signature }) => from === key && grants.includes(signature));
      const key = node.identity.publicKey;
      const prefixes = this.attempt(() => node.revocations.acceptReturn(holder, grants, leases));
      if (prefixes && prefixes.length > 0) this.model.back(key, holder, mine);
    }
  }

  /** Takes a node's machine away; the operator forgets it on one of its granters, or on any node. */
  forget(who: Owner, anybody: Owner): void {
    const by = this.grantersOf(who)[0] ?? anybody;
    if (who === this.nodes[0] || who === by || this.dead.has(by) || !this.isSeen(who)) return;
    this.dead.add(who);
    const holder = who.identity.publicKey;
    const granter = by.identity.publicKey;
    const before = by.disk.revoked.length;
    const { leases } = who.disk;
    const others = this.attempt(() => this.informed(by).revocations.revoke(holder, leases));
    if (!others || by.disk.revoked.length === before) return;
    const gone = new Set(by.disk.revoked);
    this.model.back(granter, holder, (grants) => {
      const at = grants.findLastIndex(({ from }) => from === granter);
      const between = grants.slice(at).filter(({ from, to }) => from !== to);
      return at >= 0 && between.every(({ signature }) => gone.has(signature));
    });
  }

  /** Whether all receivers of its grants show them. Forgetting it before that is unsafe. */
  isSeen({ identity, disk }: Owner): boolean {
    const shown = new Set(
      this.nodes.flatMap((node) => node.disk.leases.flat().map(({ signature }) => signature)),
    );
    return disk.journal.every(
      ({ to, signature }) =>
        to === identity.publicKey || shown.has(signature) || disk.revoked.includes(signature),
    );
  }

  /**
   * Brings a node back that was not gone. Before anything else it gets its granters' attestations. A
   * forgotten node has had no session for so long that no earlier message to it arrives any more.
   */
  revive(who: Owner): void {
    const granters = this.nodes.filter(({ identity }) =>
      who.ledger.granters.has(identity.publicKey),
    );
    if (!this.dead.has(who) || who.full || granters.some((granter) => this.dead.has(granter)))
      return;
    for (const { identity, ledger } of granters) {
      const counting = ledger.attestedTo(who.identity.publicKey);
      this.attempt(() => who.revocations.keepConfirmed(identity.publicKey, counting));
    }
    this.flying = this.flying.filter(({ to }) => to !== who);
    this.dead.delete(who);
  }

  /** Checks that every shown proof is valid and agrees with the model, and that no subnet is shown twice. */
  check(): void {
    const claims = this.nodes
      .filter((node) => !this.dead.has(node))
      .flatMap(({ identity, disk }) =>
        disk.leases.map((proof) => ({ holder: identity.publicKey, proof })),
      );
    for (const { holder, proof } of claims) {
      expect(flawOfLease(small, holder, proof)).toBeUndefined();
      expect(this.model.ownerOf(subnetOf(proof)), subnetOf(proof)).toBe(holder);
    }
    expect(new Set(claims.map(({ proof }) => subnetOf(proof))).size).toBe(claims.length);
    for (const { disk, wanted } of this.nodes) {
      expect(disk.leases.length).toBeLessThanOrEqual(wanted);
    }
  }
}

const KINDS = {
  ask: 8,
  lost: 3,
  late: 3,
  crash: 1,
  full: 1,
  leave: 2,
  back: 2,
  forget: 2,
  revive: 1,
} as const;

const who = fc.integer({ min: 0, max: NODES - 1 });
const step = fc.record({
  kind: fc.oneof(
    ...(Object.keys(KINDS) as (keyof typeof KINDS)[]).map((kind) => ({
      weight: KINDS[kind],
      arbitrary: fc.constant(kind),
    })),
  ),
  who,
  of: who,
  n: fc.nat({ max: 60 }),
});

it("no subnet has two owners: any order, answers lost, late or twice, crashes, full disks, leases given back, nodes forgotten", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const town = new Town();
      const { nodes } = town;
      town.attempt(() => nodes[0]!.allocator.takeLeases());
      for (const { kind, who, of, n } of steps) {
        const [one, other] = [nodes[who]!, nodes[of]!];
        if (kind === "ask" || kind === "lost") town.ask(one, other, kind === "lost");
        else if (kind === "late") town.land(n % Math.max(1, town.flying.length));
        else if (kind === "crash") one.crash();
        else if (kind === "full") one.full = !one.full;
        else if (kind === "leave") town.leave(one);
        else if (kind === "back") town.back(n % Math.max(1, town.returning.length));
        else if (kind === "forget") town.forget(one, other);
        else town.revive(one);
      }
      town.check();
    }),
    { seed, numRuns: 150 },
  );
});
