/**
 * A second core with a copy of the first one's memory: a packet can be tried there,
 * and nothing comes of it. It is made when first asked for; of the tables only the
 * copy that is live is taken over, and only when it has changed.
 */
import { betweenBatches } from "../core/counters.js";
import { Core } from "../core/instance.js";
import { Passage } from "../core/passage.js";
import type { Publisher } from "../core/publish.js";

export class Twin {
  readonly core: Core;
  readonly passage: Passage;
  readonly #of: Core;
  readonly #publisher: Publisher;
  #generation = 0;

  constructor(of: Core, publisher: Publisher) {
    this.#of = of;
    this.#publisher = publisher;
    this.core = Core.explaining(of);
    this.passage = new Passage(this.core);
  }

  /** From now on it is as the first core is now. */
  renew(): void {
    const { CONTROL, TABLES, COPY_SIZE, PACKETS, FLOW_TAGS } = this.core.layout;
    const afterTables = TABLES + 2 * COPY_SIZE;
    betweenBatches(this.#of, () => {
      this.#take(CONTROL, TABLES - CONTROL);
      this.#take(afterTables, PACKETS - afterTables);
      this.#take(FLOW_TAGS, this.core.bytes.length - FLOW_TAGS);
    });
    this.#renewTables();
    this.#forgetItsHost();
  }

  #renewTables(): void {
    const { generation, at, regions } = this.#publisher.live();
    if (generation === this.#generation) return;
    const { TABLES } = this.core.layout;
    // Tables can be copied whole: nothing in them says where they lie.
    for (const { from, size } of regions) this.#take(at + from, size, TABLES + from);
    this.#generation = generation;
  }

  /** No kernel looks into this memory, and its tables are in copy 0. */
  #forgetItsHost(): void {
    const { view, words, layout } = this.core;
    view.setBigUint64(layout.HOST_BASE, 0n, true);
    view.setUint32(layout.TRACE_COUNT, 0, true);
    for (const word of [layout.LIVE_COPY, layout.COPY_IN_USE, layout.BATCH_SEQUENCE]) {
      words[word >> 2] = 0;
    }
    words[layout.MAILBOX_TAKEN >> 2] = words[layout.MAILBOX_PUT >> 2]!;
  }

  #take(from: number, size: number, to = from): void {
    this.core.bytes.set(this.#of.bytes.subarray(from, from + size), to);
  }
}
