/** Real nodes on the loopback device, with real sockets, TLS and files. */

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatEndpoint, type Prefix, parseAddress, parsePrefix } from "../../src/address.js";
import { Mesh } from "../../src/mesh/mesh.js";
import type { MeshOptions } from "../../src/mesh/options.js";
import { POLICY } from "../../src/policy/kind.js";
import { WsTransport } from "../../src/session/transport-ws.js";
import { FileStore } from "../../src/state/store-file.js";
import { systemClock } from "../../src/time/system-clock.js";

export const SECRET = "a secret of the tests";
export const NETWORK: Prefix[] = [parsePrefix("10.244.0.0/16")];

export interface Node {
  readonly mesh: Mesh;
  readonly transport: WsTransport;
  readonly port: number;
  readonly state: string;
  /** All log lines. */
  readonly said: string[];
}

export interface NodeOptions extends Partial<MeshOptions> {
  readonly secrets?: string[];
  readonly joins?: Node[];
  /** The loopback address at which it listens. */
  readonly address?: "127.0.0.1" | "::1";
  readonly port?: number;
  /** State directory and port of an earlier run, to start it again. */
  readonly again?: Node;
}

const started: Mesh[] = [];
const directories: string[] = [];

export async function node(name: string, options: NodeOptions = {}): Promise<Node> {
  const {
    secrets = [SECRET],
    joins = [],
    again,
    address = "127.0.0.1",
    port = again?.port ?? (await freePort()),
    ...rest
  } = options;
  const state = again?.state ?? mkdtempSync(join(tmpdir(), `weft-mesh-${process.pid}-`));
  if (!again) directories.push(state);
  const said: string[] = [];
  const say = (level: string) => (message: string) => void said.push(`${level} ${message}`);
  const log = { info: say("info"), warn: say("warn"), error: say("error") };
  const clock = systemClock;
  const transport = new WsTransport({ clock, log }, { secrets });
  const mesh = new Mesh(
    { clock, log, store: new FileStore(state), transport, documents: [POLICY] },
    {
      name,
      vtep: formatEndpoint({ address: parseAddress(address), port }),
      vni: 1,
      listen: { address, port },
      join: joins.map((other) => ({ host: address, port: other.port })),
      network: joins.length > 0 ? undefined : NETWORK,
      ...rest,
    },
  );
  await mesh.start();
  started.push(mesh);
  return { mesh, transport, port, state, said };
}

export async function stopAll(): Promise<void> {
  await Promise.all(started.splice(0).map((mesh) => mesh.stop()));
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
}

/** Waits until `look` returns a value; only the time limit of the test ends it earlier. */
export async function until<T>(look: () => T | undefined | false): Promise<T> {
  for (;;) {
    const seen = look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const sees = (node: Node, ...names: string[]): boolean => {
  const members = node.mesh.members();
  return (
    members.length === names.length &&
    names.every((name) => members.some((one) => one.name === name && one.state === "established"))
  );
};

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
