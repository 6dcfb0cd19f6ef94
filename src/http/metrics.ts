/** The Prometheus text format, version 0.0.4, made by hand from status and counters. */
import type { Place } from "../policy/place.js";
import type { Counters, View } from "./view.js";

/** Of each way to count them. A series is worth its place when something met the rule. */
export const MAX_RULE_SAMPLES = 4_096;

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function metrics(view: View): string {
  const { healthy, peers, log } = view.status();
  const counters = view.counters();
  const directions = (["out", "in"] as const).map(
    (direction) => [direction, counters[direction]] as const,
  );
  const packets = (outcome: "received" | "delivered" | "answered") =>
    family(
      `weft_packets_${outcome}_total`,
      "counter",
      directions.map(([direction, count]) => [`{direction="${direction}"}`, count[outcome]]),
    );
  return [
    family("weft_healthy", "gauge", [["", Number(healthy)]]),
    family("weft_peers", "gauge", [["", peers]]),
    family("weft_log_lines_lost_total", "counter", [["", log.lost]]),
    packets("received"),
    packets("delivered"),
    packets("answered"),
    family("weft_packets_relayed_total", "counter", [["", counters.in.relayed]]),
    family("weft_control_received_total", "counter", [["", counters.in.control]]),
    family("weft_control_dropped_total", "counter", [
      ['{sender="known"}', counters.in.controlDropped],
      ['{sender="unknown"}', counters.in.controlDroppedUnknown],
    ]),
    family(
      "weft_packets_dropped_total",
      "counter",
      directions.flatMap(([direction, { dropped }]) =>
        Object.entries(dropped).map(
          ([reason, count]): Sample => [`{direction="${direction}",reason="${reason}"}`, count],
        ),
      ),
    ),
    family(
      "weft_mesh_connections_refused_total",
      "counter",
      Object.entries(counters.meshRefused).map(
        ([reason, count]): Sample => [`{reason="${reason}"}`, count],
      ),
    ),
    family("weft_rules", "gauge", [["", counters.rules.length]]),
    ...perRule(counters.rules),
  ].join("");
}

/** Those that met a packet, the first ones of them where there are too many. The end of a tier has neither policy nor index. */
function perRule(rules: Counters["rules"]): string[] {
  const met = rules.filter(({ packets }) => packets > 0).slice(0, MAX_RULE_SAMPLES);
  const samples = (what: "packets" | "bytes") =>
    met.map((rule): Sample => [labelsOf(rule), rule[what]]);
  return [
    family("weft_rule_packets_total", "counter", samples("packets")),
    family("weft_rule_bytes_total", "counter", samples("bytes")),
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

const family = (name: string, type: "counter" | "gauge", samples: Sample[]): string =>
  `# TYPE ${name} ${type}\n${samples.map(([labels, value]) => `${name}${labels} ${value}\n`).join("")}`;
