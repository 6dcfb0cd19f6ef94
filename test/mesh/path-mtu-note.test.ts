/** The note of `weft status` about paths whose MTU is below the device's. */
import { expect, it } from "vitest";
import { NAMED_PEERS, pathMtuNote } from "../../src/paths/path-mtu-note.js";

const DEVICE = { name: "weft0", mtu: 1450 };

it("nothing is noted while every path takes what the device lets through", () => {
  expect(pathMtuNote([], DEVICE)).toBeUndefined();
  expect(pathMtuNote([{ name: "b", mtu: 1450 }], DEVICE)).toBeUndefined();
});

it("the note names the peer, the size found, the size expected and what to do", () => {
  const peers = [
    { name: "b", mtu: 1350 },
    { name: "c", mtu: 1450 },
  ];
  expect(pathMtuNote(peers, DEVICE)).toBe(
    "weft0's MTU is 1450 bytes, and the path takes less to b (1350 bytes): senders learn " +
      "that size from ICMP errors; for larger packets, raise the MTU of the links and tunnels on the path",
  );
});

it("the note names the smallest few of many paths and counts the rest", () => {
  const peers = Array.from({ length: 8_000 }, (_, i) => ({ name: `n${i}`, mtu: 1449 - (i % 800) }));
  const note = pathMtuNote(peers, DEVICE)!;
  expect(note).toContain("less to n1599 (650 bytes), n2399 (650 bytes), n3199 (650 bytes), ");
  expect(note).toContain(`, ${8_000 - NAMED_PEERS} more (see \`weft peers\`): `);
  expect(note.length).toBeLessThan(400);
});
