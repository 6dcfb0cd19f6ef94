/** Whether the rules of translation would still make a connection as they did. */
import {
  Flow,
  familyOf,
  flowAddresses,
  IS_DESTINATION_MAPPED,
  onwardPorts,
  protocolOf,
} from "../conntrack/flow";
import { destinationIn, sourceIn } from "../decision";
import { hairpinAddress, ownAddress } from "../own-address";
import {
  findEgress,
  findService,
  findSource,
  hasBackend,
  inPool,
  isSame,
  netmapOfInside,
  netmapOfOverlay,
  toInside,
  toOverlay,
} from "../tables/nat";
import { THIS_NODE } from "../tables/peer";

/** Whether a netmap gave the connection its destination. */
export function isOfNetmap(first: Flow): bool {
  const family = familyOf(first);
  const rule = netmapOfOverlay(family, destinationIn(family, flowAddresses(first)));
  if (!rule) return false;
  const inside = toInside(rule, destinationIn(family, flowAddresses(first)));
  return isSame(inside, sourceIn(family, flowAddresses(first.twin)));
}

/** Whether the rules would still translate the connection as they did. */
export function holds(first: Flow): bool {
  return holdsDestination(first) && holdsSource(first);
}

function holdsDestination(first: Flow): bool {
  if (first.flags & IS_DESTINATION_MAPPED) return true;
  const family = familyOf(first);
  const destination = destinationIn(family, flowAddresses(first));
  const onward = sourceIn(family, flowAddresses(first.twin));
  const port = first.ports >> 16;
  const onwardPort = onwardPorts(first) >> 16;
  if (isSame(destination, onward) && port == onwardPort) return true;
  const service = findService(family, protocolOf(first), destination, port);
  return service ? hasBackend(service, onward, onwardPort) : isOfNetmap(first);
}

function holdsSource(first: Flow): bool {
  const family = familyOf(first);
  const source = sourceIn(family, flowAddresses(first));
  const destination = sourceIn(family, flowAddresses(first.twin));
  const outside = destinationIn(family, flowAddresses(first.twin));
  if (isSame(source, outside)) return true;
  if (isSame(outside, hairpinAddress(family))) return true;
  const netmap = netmapOfInside(family, source);
  if (netmap) return isSame(outside, toOverlay(netmap, source));
  const egress = findEgress(family, source, destination);
  if (egress) return egress.via == THIS_NODE && isSame(outside, egress.address);
  let rule = findSource(family, source, destination);
  if (!rule) rule = findSource(family, source, destinationIn(family, flowAddresses(first)));
  if (rule && rule.addresses) return isSame(outside, inPool(family, source, rule));
  return isSame(outside, ownAddress(family));
}
