/**
 * One copy of the table of rules that the core searches (`assembly/tables/acl.ts` draws it). An update
 * writes only the sets of the values that changed since the last update of this copy.
 */
import { WeftError } from "../error.js";
import { Acl } from "./acl.js";
import type { AclRules } from "./acl-rule.js";
import { type DirectionLayout, DirectionTable } from "./direction-table.js";
import { type LpmLayout, LpmTable } from "./lpm.js";
import { SetAllocator, type SetLayout } from "./sets.js";

/** Offsets of the parts of the table, and the bits of a rule, as the core exports them. */
export interface AclLayout extends DirectionLayout, LpmLayout, SetLayout {
  readonly ACL_LPM4: number;
  readonly ACL_LPM4_SIZE: number;
  readonly ACL_LPM6: number;
  readonly ACL_LPM6_SIZE: number;
  readonly ACL_SIZE: number;
}

/** The version of a table whose content cannot be used. */
const UNUSABLE = -1;

export class AclTable {
  readonly #layout: AclLayout;
  readonly #allocator: SetAllocator;
  readonly #lpm: Readonly<Record<4 | 6, LpmTable>>;
  readonly #directions: readonly DirectionTable[];
  #version = 0;

  /** @param at address of the table in `memory`, a multiple of 64; its bytes must be zero */
  constructor(memory: ArrayBufferLike, at: number, layout: AclLayout) {
    const words = new Uint32Array(memory, at, layout.ACL_SIZE / 4);
    const allocator = new SetAllocator(words, layout);
    this.#layout = layout;
    this.#allocator = allocator;
    this.#lpm = {
      4: new LpmTable(memory, at + layout.ACL_LPM4, layout.ACL_LPM4_SIZE, layout),
      6: new LpmTable(memory, at + layout.ACL_LPM6, layout.ACL_LPM6_SIZE, layout),
    };
    this.#directions = [0, 1].map((i) => new DirectionTable(words, allocator, i, layout));
  }

  /** Bytes of the sets, and of the tables from addresses to classes. */
  get used(): { readonly sets: number; readonly classes: Readonly<Record<4 | 6, number>> } {
    const { 4: four, 6: six } = this.#lpm;
    return { sets: this.#allocator.used, classes: { 4: four.used, 6: six.used } };
  }

  /** Ranges in use, in bytes from the beginning of the table; the rest is never read. */
  get regions(): readonly { readonly from: number; readonly size: number }[] {
    const { ACL_LPM4, ACL_LPM6, ACL_SETS } = this.#layout;
    const { classes, sets } = this.used;
    return [
      { from: 0, size: ACL_LPM4 },
      { from: ACL_LPM4, size: classes[4] },
      { from: ACL_LPM6, size: classes[6] },
      { from: ACL_SETS, size: sets },
    ];
  }

  /**
   * Brings this copy up to date with the rules. The core must not search it meanwhile.
   * @throws WeftError when they do not fit; the copy is then unusable until an update succeeds
   */
  update(acl: Acl): void {
    if (this.#version === UNUSABLE || !this.#paintOver(acl)) {
      this.#clear();
      this.#paint(acl);
    }
    this.#version = acl.version;
  }

  /** Paints over the existing sets; false if it does not fit. A free block takes only sets of its size. */
  #paintOver(acl: Acl): boolean {
    try {
      this.#paint(acl);
      return true;
    } catch (error) {
      if (error instanceof WeftError) return false;
      throw error;
    }
  }

  #clear(): void {
    this.#allocator.clear();
    for (const direction of this.#directions) direction.clear();
    this.#version = UNUSABLE;
  }

  #paint(acl: Acl): void {
    for (const family of [4, 6] as const) this.#paintAddresses(family, acl);
    acl.directions.forEach((rules, i) => {
      this.#directions[i]!.paint(rules, acl.classes, this.#version);
    });
  }

  #paintAddresses(family: 4 | 6, acl: Acl): void {
    try {
      this.#lpm[family].update(acl.ribs[family]);
    } catch (error) {
      if (error instanceof WeftError) throw addressesFull(family, acl.ribs[family].size);
      throw error;
    }
  }
}

/**
 * Checks that the rules fit, in a table that the core does not search.
 * @throws WeftError ACL_FULL
 */
export function checkFit(rules: AclRules, layout: AclLayout): void {
  const acl = new Acl();
  acl.update(rules);
  new AclTable(new ArrayBuffer(layout.ACL_SIZE), 0, layout).update(acl);
}

const addressesFull = (family: 4 | 6, count: number): WeftError =>
  new WeftError(
    "ACL_FULL",
    `the ${count} IPv${family} prefixes that the rules name are too far apart for their table`,
    "use fewer, or wider ones",
  );
