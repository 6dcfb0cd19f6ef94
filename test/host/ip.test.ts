import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { ask, askAll, askEach } from "../../src/host/ip.js";

/** Puts an `ip` command that prints this answer before the real one in PATH. */
function answering(answer: string): void {
  const folder = mkdtempSync(join(tmpdir(), `weft-ip-${process.pid}-`));
  writeFileSync(join(folder, "ip"), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  const { PATH } = process.env;
  process.env.PATH = `${folder}:${PATH}`;
  onTestFinished(() => {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  });
}

it("the empty objects that older versions of iproute2 print are no rows", async () => {
  answering('[{},{"ifname":"weft0","addr_info":[]},{}]');
  const rows = [{ ifname: "weft0", addr_info: [] }];
  expect(await ask("address", "show", "dev", "weft0")).toEqual(rows);
  expect(await askAll(["address show dev weft0"])).toEqual([rows]);
  expect(await askEach(["address show dev weft0"])).toEqual(rows);
});

it("an ip that does not speak JSON is named, with what to install", async () => {
  answering("1: lo: <LOOPBACK,UP> mtu 65536");
  await expect(ask("link", "show")).rejects.toMatchObject({
    message: '"ip -j link show" did not answer in JSON',
    remedy: "install Debian's iproute2; another ip command in PATH does not work",
  });
});
