/**
 * A second core with a copy of the first one's memory: a packet can be tried there,
 * and nothing comes of it. It is made when first asked for; of the tables only the
 * copy that is live is taken over, and only when it has changed.
 */
import { betweenBatches } from "../core/counters.js";
import { Core } from "../core/instance.js";
import { PacketRunner } from "../core/packet-runner.js";
import type { Publisher } from "../core/publish.js";

export class CoreCopy {
  readonly core: Core;
  readonly runner: PacketRunner;
  readonly #original: Core;
  readonly #publisher: Publisher;
  #generation = 0;

  constructor(of: Core, publisher: Publisher) {
    this.#original = of;
    this.#publisher = publisher;
    this.core = Core.explaining(of);
    this.runner = new PacketRunner(this.core);
  }

  /** From now on it is as the first core is now. */
  refresh(): void {
    const { CONTROL, TABLES, COPY_SIZE, PACKETS, FLOW_TAGS } = this.core.layout;
    const afterTables = TABLES + 2 * COPY_SIZE;
    betweenBatches(this.#original, () => {
      this.#copy(CONTROL, TABLES - CONTROL);
      this.#copy(afterTables, PACKETS - afterTables);
      this.#copy(FLOW_TAGS, this.core.bytes.length - FLOW_TAGS);
    });
    this.#refreshTables();
    this.#detachFromHost();
  }

  #refreshTables(): void {
    const { generation, at, regions } = this.#publisher.live();
    if (generation === this.#generation) return;
    const { TABLES } = this.core.layout;
    // Tables can be copied whole: nothing in them says where they lie.
    for (const { from, size } of regions) this.#copy(at + from, size, TABLES + from);
    this.#generation = generation;
  }

  /** No kernel looks into this memory, and its tables are in copy 0. */
  #detachFromHost(): void {
    const { view, words, layout } = this.core;
    view.setBigUint64(layout.HOST_BASE, 0n, true);
    view.setUint32(layout.TRACE_COUNT, 0, true);
    for (const word of [layout.LIVE_COPY, layout.COPY_IN_USE, layout.BATCH_SEQUENCE]) {
      words[word >> 2] = 0;
    }
    words[layout.MAILBOX_TAKEN >> 2] = words[layout.MAILBOX_PUT >> 2]!;
  }

  #copy(from: number, size: number, to = from): void {
    this.core.bytes.set(this.#original.bytes.subarray(from, from + size), to);
  }
}
