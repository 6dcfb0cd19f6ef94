import { describe, expect, it, vi } from "vitest";
import { rootless } from "../../src/demo/rootless.js";

describe("the demo without root", () => {
  it("joins three nodes over the loopback, and every pair answers", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    await rootless();
    const said = log.mock.calls.join("\n");
    log.mockRestore();
    expect(said.match(/^ {2}h\d -> h\d +[\d.]+ {2}yes$/gm)).toHaveLength(6);
  });
});
