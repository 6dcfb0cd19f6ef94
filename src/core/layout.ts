/**
 * The memory map as the host sees it. The numbers are read from the module's
 * exported globals, so they cannot drift from `assembly/memory.ts`.
 */
const NAMES = [
  "CONTROL",
  "LIVE_COPY",
  "COPY_IN_USE",
  "BATCH_SEQUENCE",
  "HOST_BASE",
  "CLOCK",
  "OWN_VNI",
  "OWN_ADDRESS",
  "WIRE_COUNT",
  "DEVICE_COUNT",
  "COUNTERS",
  "COUNTER_RECEIVED",
  "COUNTER_DELIVERED",
  "COUNTER_ANSWERED",
  "COUNTER_DROPPED",
  "COUNTERS_SIZE",
  "OUT",
  "IN",
  "MAX_PEERS",
  "TRAFFIC",
  "TRAFFIC_SIZE",
  "TABLES",
  "COPY_SIZE",
  "PEERS_AT",
  "PEER_SIZE",
  "ENDPOINTS_AT",
  "ENDPOINT_SIZE",
  "ENDPOINT_BITS",
  "ROUTES_AT",
  "ROUTE_NODES_AT",
  "ROUTE_NODE_SIZE",
  "MAX_ROUTE_NODES",
  "BATCH",
  "PACKETS",
  "PACKET_SIZE",
  "PACKET_VERDICT",
  "LENGTHS",
  "RECEIVE",
  "RECEIVE_NAMES",
  "NAME_SIZE",
  "MMSGHDR_SIZE",
  "MMSGHDR_NAME",
  "MMSGHDR_NAMELEN",
  "MMSGHDR_IOV",
  "MMSGHDR_IOVLEN",
  "MMSGHDR_LEN",
  "IOVEC_SIZE",
  "IOVEC_LEN",
  "SOCKADDR_PORT",
  "SOCKADDR_IPV4",
  "WIRE",
  "MAX_WIRE",
  "DEVICE",
  "DEVICE_SIZE",
  "HEADROOM",
  "VIRTIO_SIZE",
  "ENCAP_SIZE",
  "MAX_PACKET",
  "SLOTS",
  "SLOT_SIZE",
  "END",
  "GUARD_SIZE",
  "GUARD_0",
  "GUARD_1",
  "GUARD_2",
  "GUARD_3",
  "GUARD_4",
  "GUARD_5",
  "GUARD_6",
] as const;

export type Layout = Readonly<Record<(typeof NAMES)[number], number>>;

export function readLayout(exports: WebAssembly.Exports): Layout {
  const layout: Record<string, number> = {};
  for (const name of NAMES) {
    const global = exports[name];
    if (!(global instanceof WebAssembly.Global)) {
      throw new Error(
        `the core exports no ${name}: it is older than the agent, run \`npm run build\``,
      );
    }
    layout[name] = global.value;
  }
  return layout as Layout;
}
