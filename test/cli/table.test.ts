import { expect, it } from "vitest";
import { pairs, table } from "../../src/cli/table.js";

it("numbers stand to the right, the rest to the left, nothing trails", () => {
  expect(
    table(
      ["NAME", "RTT", "LEASES"],
      [
        ["h1", 12.5, ["10.1.0.0/24", "10.2.0.0/24"]],
        ["long-name", null, []],
        ["x", 3, "y"],
      ],
    ),
  ).toBe(
    [
      "NAME        RTT  LEASES",
      "h1         12.5  10.1.0.0/24, 10.2.0.0/24",
      "long-name     -",
      "x             3  y",
      "",
    ].join("\n"),
  );
});

it("no rows are a line of heads", () => expect(table(["A", "B"], [])).toBe("A  B\n"));

it("what other nodes said cannot steer the terminal", () => {
  expect(table(["A"], [["\u001b[2Jx\n"]])).toBe("A\n?[2Jx?\n");
  expect(pairs([["a", "\u0007"]])).toBe("a  ?\n");
});
