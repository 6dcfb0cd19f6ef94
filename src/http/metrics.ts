/** The Prometheus text format, version 0.0.4, made by hand from status and counters. */
import type { View } from "./view.js";

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function metrics(view: View): string {
  const { healthy, peers } = view.status();
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
    packets("received"),
    packets("delivered"),
    packets("answered"),
    family("weft_packets_relayed_total", "counter", [["", counters.in.relayed]]),
    family("weft_control_received_total", "counter", [["", counters.in.control]]),
    family("weft_control_dropped_total", "counter", [["", counters.in.controlDropped]]),
    family(
      "weft_packets_dropped_total",
      "counter",
      directions.flatMap(([direction, { dropped }]) =>
        Object.entries(dropped).map(
          ([reason, count]): Sample => [`{direction="${direction}",reason="${reason}"}`, count],
        ),
      ),
    ),
  ].join("");
}

type Sample = [labels: string, value: number];

const family = (name: string, type: "counter" | "gauge", samples: Sample[]): string =>
  `# TYPE ${name} ${type}\n${samples.map(([labels, value]) => `${name}${labels} ${value}\n`).join("")}`;
