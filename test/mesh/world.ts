/** Whole nodes with a manual clock and an in-memory network: no sockets, no waiting. */
import { parsePrefix } from "../../src/address.js";
import type { StoredDocument } from "../../src/documents/sealed-document.js";
import { WeftError } from "../../src/error.js";
import { ed25519 } from "../../src/identity/ed25519.js";
import { Mesh } from "../../src/mesh/mesh.js";
import type { MeshOptions, MeshParts } from "../../src/mesh/options.js";
import type { DataPath } from "../../src/paths/datapath.js";
import { POLICY } from "../../src/policy/kind.js";
import { MemoryNetwork, type MemoryTransport } from "../../src/session/transport-memory.js";
import { MemoryStore, type State } from "../../src/state/store.js";
import "./legal.js";
import { ManualClock, NodeClock } from "../time/manual-clock.js";
import { seed } from "./seed.js";

export class MemoryDisk extends MemoryStore {
  full = false;

  override save(state: State): void {
    this.#checkRoom();
    super.save(state);
  }

  override saveDocument(policy: StoredDocument): void {
    this.#checkRoom();
    super.saveDocument(policy);
  }

  /** A disk with the same state, as a backup or a copied host image has. */
  copy(): MemoryDisk {
    const copy = new MemoryDisk();
    copy.save(structuredClone(this.load()!));
    return copy;
  }

  #checkRoom(): void {
    if (this.full) throw new WeftError("STATE_WRITE", "the disk is full", "make room");
  }
}

interface NodeOptions extends Partial<MeshOptions> {
  /** Milliseconds by which its time of day is ahead. */
  readonly ahead?: number;
  readonly datapath?: DataPath;
  readonly documents?: MeshParts["documents"];
  readonly verifier?: MeshParts["verifier"];
}

let worlds = 0;

/** Nodes h1, h2, ... at 192.0.2.1, 192.0.2.2, ... */
export class World {
  readonly clock = new ManualClock(seed + worlds++);
  readonly network = new MemoryNetwork(this.clock);
  /** All log lines of all nodes. */
  readonly said: string[] = [];

  constructor(readonly signatures = ed25519) {}

  async node(
    n: number,
    joins: number[],
    disk = new MemoryDisk(),
    { ahead = 0, datapath, documents = [POLICY], verifier, ...options }: NodeOptions = {},
  ) {
    const say = (message: string) => void this.said.push(`h${n} ${message}`);
    const transport = this.network.host(options.listen?.address ?? `192.0.2.${n}`);
    const clock = new NodeClock(this.clock, ahead);
    const mesh = new Mesh(
      {
        clock,
        signatures: this.signatures,
        transport,
        datapath,
        verifier,
        store: disk,
        documents,
        log: { info: say, warn: say, error: say },
      },
      {
        name: `h${n}`,
        vtep: `192.0.2.${n}:4789`,
        vni: 1,
        listen: { address: `192.0.2.${n}`, port: 6783 },
        join: joins.map((other) => ({ host: `192.0.2.${other}`, port: 6783 })),
        network: joins.length === 0 ? [parsePrefix("10.244.0.0/16")] : undefined,
        ...options,
      },
    );
    await mesh.start();
    return { mesh, disk, transport, clock };
  }

  /** Kills a node as SIGKILL does: it sends nothing, and its connections break. */
  async kill({ transport, clock }: { transport: MemoryTransport; clock: NodeClock }) {
    clock.kill();
    await transport.close();
  }
}
