/**
 * The layers of `src/`, from the bottom up: folders, and the files beside them. A layer imports only
 * from those before it in this list.
 */
export const LAYERS: readonly string[] = [
  // Words that everything shares.
  "error.ts",
  "address.ts",
  "evict-oldest.ts",
  "log.ts",
  "tos.ts",
  "peer.ts",
  "protocol.ts",
  "linux.ts",
  "sockaddr.ts",
  "time",
  "files",
  // The control plane: identities, leases, sessions, and the protocols that run over them.
  "identity",
  "lease",
  "session",
  "gossip",
  "documents",
  "failure-detector",
  "paths",
  "leasing",
  "state",
  "document-sync",
  // The dataplane: tables, the core, and what they are made of.
  "compile",
  "core",
  "config",
  "policy",
  "nat",
  "explain",
  "snapshot.ts",
  "dataplane.ts",
  "index.ts",
  "io",
  "logging",
  "host",
  // Protocols that need both, and what wires the control plane.
  "explain-sync",
  "mesh",
  // The agent, the command, and what tries them.
  "http",
  "agent",
  "cli",
  "lab",
  "sim",
  "demo",
  "demo.ts",
];
