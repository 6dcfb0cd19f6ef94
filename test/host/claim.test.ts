import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts, program } from "./inside.js";

onHosts("claiming a host", () => {
  let lab: Lab;
  let host: Host;
  let folder: string;
  let number = 0;

  beforeAll(async () => {
    lab = await Lab.open();
  });
  beforeEach(async () => {
    host = await lab.host(`h${++number}`);
    folder = join(lab.folder, host.name);
    mkdirSync(folder);
  });
  afterAll(() => lab?.close());

  /** Claims the host, and runs `then` before the release. */
  const claim = (then = "", flags: Record<string, string | undefined> = {}) => {
    const all = {
      underlay: host.address,
      state: join(folder, "state/deep"),
      socket: join(folder, "run/weft.sock"),
      ...flags,
    };
    return `
      const { loadConfig } = await weft("config/config.js");
      const { claimHost } = await weft("host/claim.js");
      const around = { hostname: "h1", secret: "sixteen letters!" };
      const claim = await claimHost(
        loadConfig(${JSON.stringify(all)}, undefined, around),
        new AbortController().signal,
      );
      ${then}
      claim.release();
      return claim.repaired;`;
  };

  /** The message of a refused claim; checks that nothing was left behind. */
  const refusal = async (
    flags: Record<string, string | undefined> = {},
    wrapper: string[] = [],
  ) => {
    const { error } = await inside(host, claim("", flags), wrapper);
    expect(existsSync(join(folder, "state"))).toBe(false);
    expect(error?.remedy).toBeTruthy();
    return error?.message;
  };

  it("leaves it as it was when given back", async () => {
    expect(await inside(host, claim())).toEqual({ value: [] });
    expect(existsSync(join(folder, "state"))).toBe(false);
  });

  it("needs the right to configure the network", async () => {
    const without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    expect(await refusal({}, without)).toBe(
      "making a network device needs root, or the capability CAP_NET_ADMIN",
    );
  });

  it("needs /dev/net/tun", async () => {
    const hidden = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs none /dev/net; exec "$@"',
      "sh",
    ];
    expect(await refusal({}, hidden)).toBe(
      "/dev/net/tun does not exist, so no network device can be made",
    );
  });

  it("needs ip", async () => {
    expect(await refusal({}, ["env", "PATH=/nonexistent"])).toBe(
      "the ip command is not installed, or not in PATH",
    );
  });

  it("needs the network apart from the underlay's subnet", async () => {
    await host.ip("addr add 10.244.3.1/24 dev eth0");
    expect(await refusal({ underlay: "10.244.3.1", network: "10.244.0.0/16" })).toContain(
      "10.244.0.0/16 overlaps the underlay 10.244.3.1/32",
    );
    await host.ip("addr add 10.50.0.1/8 dev eth0");
    expect(await refusal({ underlay: "10.50.0.1" })).toContain(
      "10.244.0.0/16 overlaps the underlay 10.0.0.0/8",
    );
  });

  it("needs static peers of the underlay's family", async () => {
    const peer = "name=f,endpoint=192.0.2.9:4789,mac=02:00:00:00:00:09,subnets=10.9.0.0/24";
    await host.ip(
      `addr del ${host.address}/24 dev eth0`,
      "route add default dev eth0 via 2001:db8:1::99",
    );
    expect(await refusal({ underlay: undefined, "static-peer": peer })).toBe(
      "the static peer f is at the IPv4 endpoint 192.0.2.9:4789, and the underlay is IPv6",
    );
  });

  it("needs its ports on an IPv6 underlay too, and can be had there", async () => {
    const underlay = host.address6;
    expect(await inside(host, claim("", { underlay }))).toEqual({ value: [] });
    const holder = host.spawn([
      process.execPath,
      "--eval",
      `require("net").createServer().listen(6783, "${underlay}", () => console.log("bound"));
       require("dgram").createSocket("udp6").bind(4790, "${underlay}");`,
    ]);
    await holder.waitForOutput(/bound/);
    expect(await refusal({ underlay })).toBe(`TCP port 6783 of ${underlay} is already in use`);
    expect(await refusal({ underlay, port: "4790" })).toBe(
      `UDP port 4790 of ${underlay} is already in use`,
    );
    await holder.stop();
  });

  it("needs an MTU the underlay has", async () => {
    expect(await refusal({ mtu: "1501" })).toBe(
      "an underlay MTU of 1501 is more than the 1500 that packets to peers may have here",
    );
  });

  it("needs the name of its device", async () => {
    await host.ip("tuntap add dev weft0 mode tun");
    expect(await refusal()).toContain("a network device named weft0 exists already");
  });

  it("needs its UDP port, be it held by a program or a kernel vxlan device", async () => {
    await host.ip(
      "link add vx type vxlan id 1 dev eth0 dstport 4789 local 192.0.2.1",
      "link set vx up",
    );
    expect(await refusal()).toBe(`UDP port 4789 of ${host.address} is already in use`);
  });

  it("needs its mesh port", async () => {
    const holder = host.spawn([
      process.execPath,
      "--eval",
      `require("net").createServer().listen(6783, "0.0.0.0", () => console.log("bound"))`,
    ]);
    await holder.waitForOutput(/bound/);
    expect(await refusal()).toBe(`TCP port 6783 of ${host.address} is already in use`);
    await holder.stop();
  });

  it("needs a state directory of its own, and names who has it", async () => {
    const holder = host.spawn(
      program(
        claim(`console.log("held"); setInterval(() => {}, 1000); await new Promise(() => {});`),
      ),
    );
    await holder.waitForOutput(/held/);
    const { error } = await inside(host, claim());
    expect(error?.message).toBe(
      `another agent (pid ${holder.pid}, h1) uses the state directory ${join(folder, "state/deep")}`,
    );

    holder.kill("SIGKILL");
    await holder.finish(5_000);
    expect(readFileSync(join(folder, "state/deep/lock"), "utf8")).toBe(`${holder.pid} h1\n`);
    expect(await inside(host, claim())).toEqual({ value: [] });
  });

  it("needs a state directory it can write to", async () => {
    writeFileSync(join(folder, "file"), "");
    const { error } = await inside(host, claim("", { state: join(folder, "file/state") }));
    expect(error).toMatchObject({ code: "STATE", message: expect.stringContaining("ENOTDIR") });
  });

  it("keeps what is in the state directory", async () => {
    mkdirSync(join(folder, "state/deep"), { recursive: true });
    writeFileSync(join(folder, "state/deep/lease"), "kept");
    await inside(host, claim());
    expect(readFileSync(join(folder, "state/deep/lease"), "utf8")).toBe("kept");
    expect(existsSync(join(folder, "state/deep/lock"))).toBe(false);
  });

  it("removes the socket a killed agent left, and says so", async () => {
    const socket = join(folder, "weft.sock");
    const left = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, "SIGKILL"))`;
    await host.run([process.execPath, "--eval", left]);
    expect(existsSync(socket)).toBe(true);
    expect(await inside(host, claim("", { socket }))).toEqual({
      value: [`removed ${socket}, left by an agent that is gone`],
    });
    expect(existsSync(socket)).toBe(false);
  });

  it("passes no secret to the ip command", async () => {
    const fake = join(folder, "bin");
    mkdirSync(fake);
    writeFileSync(
      join(fake, "ip"),
      `#!/bin/sh\n/usr/bin/env >>${folder}/seen\nexec /sbin/ip "$@"\n`,
      {
        mode: 0o755,
      },
    );
    const wrapper = ["env", `PATH=${fake}:${process.env.PATH}`, "WEFT_SECRET=sixteen letters!"];
    expect(await inside(host, claim(), wrapper)).toEqual({ value: [] });
    const seen = readFileSync(join(folder, "seen"), "utf8");
    expect(seen).toContain("LC_ALL=C");
    expect(seen).not.toContain("sixteen letters!");
  });
});
