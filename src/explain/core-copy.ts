/**
 * A second core with a copy of the first one's memory, in which a packet can be tried without any
 * effect on the first. It is made on first use. Of the tables, only the live copy is taken, and only
 * when it has changed.
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

  /** Copies the current state of the first core. */
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
    // Tables can be copied as bytes: they contain no absolute addresses.
    for (const { from, size } of regions) this.#copy(at + from, size, TABLES + from);
    this.#generation = generation;
  }

  /** Detaches the copy from the kernel and the mailbox, and makes table copy 0 the live one. */
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
