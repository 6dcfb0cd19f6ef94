/** What core and host each have in their own source: it must be the same in both. */
import { describe, expect, it } from "vitest";
import { MAX_SENDERS } from "../../src/compile/peers.js";
import { ROOT_BITS, STRIDE, VALUES } from "../../src/compile/rib.js";
import { MAX_RULES } from "../../src/compile/sets.js";
import { Core } from "../../src/core/instance.js";
import { VNET_HEADER_SIZE } from "../../src/io/tun.js";
import * as linux from "../../src/linux.js";
import { MAX_ALLOWED_SOURCES as MOST_PROVED } from "../../src/paths/allowed-sources.js";

const { layout, exports } = await Core.create();
const globals = exports as unknown as Record<string, WebAssembly.Global | undefined>;

describe("core and host", () => {
  it("cut an address into the same steps, and give it one of as many values", () => {
    expect([ROOT_BITS, STRIDE, VALUES]).toEqual([
      layout.LPM_ROOT_BITS,
      layout.LPM_STRIDE,
      layout.LPM_VALUES,
    ]);
  });

  it("have room for as many rules in a direction", () => {
    expect(MAX_RULES).toBe(layout.ACL_MAX_RULES);
  });

  it("have room for as many senders of a peer", () => {
    expect(MAX_SENDERS).toBe(layout.MAX_SENDERS);
    expect(MOST_PROVED).toBe(layout.MAX_SENDERS);
  });

  it("expect a virtio-net header of the same size", () => {
    expect(VNET_HEADER_SIZE).toBe(layout.VIRTIO_SIZE);
  });

  it("share the same numbers and structures with Linux", () => {
    const ofHost = Object.entries(linux).filter(([name]) => globals[name] !== undefined);
    const ofCore = ofHost.map(([name]) => [name, globals[name]!.value]);
    expect(ofHost).toEqual(ofCore);
    expect(ofHost.length).toBeGreaterThanOrEqual(25);
  });
});
