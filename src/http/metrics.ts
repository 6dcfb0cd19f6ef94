/** The Prometheus text format, version 0.0.4, written from status and counters. */
import { ANSWERABLE, type Reason, reasonNames } from "../core/reasons.js";
import type { Place } from "../policy/place.js";
import type { CheckRow, Control, Counters, Readings } from "./view.js";

/** Most rules in each of the two metrics. A rule that matched no packet has no series. */
export const MAX_RULE_SAMPLES = 4_096;

/** Most backends in a metric. */
export const MAX_BACKEND_SAMPLES = 4_096;

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function metrics(view: Readings & Pick<Control, "checks">): string {
  const { healthy, peers, policy, nat, log } = view.status();
  const counters = view.counters();
  const directions = (["out", "in"] as const).map(
    (direction) => [direction, counters[direction]] as const,
  );
  const packets = (outcome: "received" | "delivered" | "answered", help: string) =>
    family(
      `weft_packets_${outcome}_total`,
      "counter",
      help,
      directions.map(([direction, count]) => [`{direction="${direction}"}`, count[outcome]]),
    );
  const byReason = (of: "answeredBy" | "dropped", reasons: readonly Reason[]) =>
    directions.flatMap(([direction, count]) =>
      reasons.map(
        (reason): Sample => [
          `{direction="${direction}",reason="${reason}"}`,
          count[of][reason] ?? 0,
        ],
      ),
    );
  return [
    family("weft_healthy", "gauge", "1 when healthy, 0 when degraded.", [["", Number(healthy)]]),
    family("weft_peers", "gauge", "Peers that this node knows.", [["", peers]]),
    family(
      "weft_policy_version",
      "gauge",
      "Version of the policy in force here, 0 for none.",
      policy.version === null ? [] : [["", policy.version]],
    ),
    family("weft_policy_nodes", "gauge", "Known nodes, by whether the newest policy is in force.", [
      ['{in_force="true"}', policy.inForce],
      ['{in_force="false"}', policy.known - policy.inForce],
    ]),
    family(
      "weft_nat_version",
      "gauge",
      "Version of the document of address translation in force here, 0 for none.",
      nat.version === null ? [] : [["", nat.version]],
    ),
    family(
      "weft_nat_nodes",
      "gauge",
      "Known nodes, by whether the newest document of address translation is in force.",
      [
        ['{in_force="true"}', nat.inForce],
        ['{in_force="false"}', nat.known - nat.inForce],
      ],
    ),
    perBackend(view.checks()),
    family("weft_log_lines_lost_total", "counter", "Log lines that could not be written.", [
      ["", log.lost],
    ]),
    packets("received", "Packets received: delivered, answered and dropped."),
    packets("delivered", "Packets sent to a peer, or given to the device or another node."),
    packets("answered", "Packets refused with an ICMP error to the sender."),
    family(
      "weft_packets_answered_by_reason_total",
      "counter",
      "Packets refused with an ICMP error to the sender, by reason.",
      byReason("answeredBy", ANSWERABLE),
    ),
    family(
      "weft_packets_relayed_total",
      "counter",
      "Of the delivered packets, those that went on to another node.",
      [["", counters.in.relayed]],
    ),
    family("weft_control_received_total", "counter", "Control datagrams handed to the mesh.", [
      ["", counters.in.control],
    ]),
    family(
      "weft_control_dropped_total",
      "counter",
      "Control datagrams lost because the mesh was too slow.",
      [
        ['{sender="known"}', counters.in.controlDropped],
        ['{sender="unknown"}', counters.in.controlDroppedUnknown],
      ],
    ),
    family(
      "weft_packets_dropped_total",
      "counter",
      "Packets dropped without an answer, by reason.",
      byReason("dropped", DROPPABLE),
    ),
    family(
      "weft_mesh_connections_refused_total",
      "counter",
      "Connections to the mesh port that ended before they proved the cluster secret, by reason.",
      Object.entries(counters.meshRefused).map(
        ([reason, count]): Sample => [`{reason="${reason}"}`, count],
      ),
    ),
    family("weft_rules", "gauge", "Rules of the policy that concern this node.", [
      ["", counters.rules.length],
    ]),
    ...perRule(counters.rules),
  ].join("");
}

const perBackend = (checks: readonly CheckRow[]): string =>
  family(
    "weft_service_backend_up",
    "gauge",
    "Backends of services with a check: 1 when it is up as seen from this node, 0 when it is down.",
    checks
      .slice(0, MAX_BACKEND_SAMPLES)
      .map(
        ({ service, to, isUp }): Sample => [`{service="${service}",backend="${to}"}`, Number(isUp)],
      ),
  );

/**
 * Series of the rules that matched a packet, up to MAX_RULE_SAMPLES. The end of a tier has neither
 * policy nor index.
 */
function perRule(rules: Counters["rules"]): string[] {
  const met = rules.filter(({ packets }) => packets > 0).slice(0, MAX_RULE_SAMPLES);
  const samples = (what: "packets" | "bytes") =>
    met.map((rule): Sample => [labelsOf(rule), rule[what]]);
  return [
    family(
      "weft_rule_packets_total",
      "counter",
      "Packets that a rule of the policy decided, by rule.",
      samples("packets"),
    ),
    family(
      "weft_rule_bytes_total",
      "counter",
      "Bytes of the packets that a rule of the policy decided, by rule.",
      samples("bytes"),
    ),
  ];
}

function labelsOf({ direction, tier, policy, index, action, isShadow }: Place): string {
  const labels = {
    direction,
    tier,
    ...(policy !== undefined && { policy, index }),
    action,
    shadow: isShadow,
  };
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(",")}}`;
}

type Sample = [labels: string, value: number];

/** Each reason for a drop: all but the first, `delivered`. */
const DROPPABLE = reasonNames.slice(1);

const family = (name: string, type: "counter" | "gauge", help: string, samples: Sample[]): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.map(([labels, value]) => `${name}${labels} ${value}\n`).join("")}`;
