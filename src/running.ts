/** What runs inside an agent, once it has started. */
import type { Logger, LogState } from "./cli/log.js";
import type { Config } from "./config.js";
import type { Core } from "./core/instance.js";
import type { Publisher } from "./core/publish.js";
import type { UnderlayWatch } from "./host/underlay-watch.js";
import type { Upkeep } from "./host/upkeep.js";
import type { KernelIo } from "./io/kernel.js";
import type { Mesh } from "./mesh/mesh.js";
import type { PolicyCompiler } from "./policy/engine.js";
import type { WsTransport } from "./session/transport-ws.js";

export interface Running {
  readonly config: Config;
  readonly log: Logger;
  readonly logState: () => LogState;
  readonly watch: UnderlayWatch;
  readonly upkeep: Upkeep;
  readonly core: Core;
  readonly publisher: Publisher;
  readonly mesh: Mesh;
  readonly transport: WsTransport;
  readonly policies: PolicyCompiler;
  readonly io: KernelIo;
  /** Of the overlay device now, in bytes. */
  readonly mtu: number;
}
