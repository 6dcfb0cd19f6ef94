import { describe, expect, it } from "vitest";
import { lastLines } from "./reporter.js";

describe("the last lines of a test run", () => {
  it("say so when everything ran", () => {
    expect(lastLines([])).toEqual(["Nothing was skipped: this machine ran every test."]);
  });

  it("name every test that was skipped, by reason", () => {
    const lines = lastLines([
      { test: "a.test.ts > one", why: "not root" },
      { test: "b.test.ts > two", why: "/dev/net/tun is missing" },
      { test: "c.test.ts > three", why: "not root" },
    ]);
    expect(lines).toEqual([
      "This machine could not run 3 of the tests:",
      "  not root:",
      "    a.test.ts > one",
      "    c.test.ts > three",
      "  /dev/net/tun is missing:",
      "    b.test.ts > two",
    ]);
  });
});
