/** The verdict of `weft explain` in words. */

import type { HostView } from "../explain/host-view.js";
import type { PathView } from "../explain/path.js";
import type { Explained, ExplainedThere } from "../http/view.js";
import { seconds } from "./table.js";

type AtNode = Pick<Explained | ExplainedThere, "verdict" | "reason" | "path" | "host">;

/** Whether it goes on at the last node asked, and no path on the way is known to lose it. */
export function goesOn({ further, ...here }: Explained): boolean {
  const nodes = [here, ...further];
  const last = nodes.at(-1)!;
  return GOES_ON.includes(last.verdict) && !isStranded(last) && !nodes.some(isProbablyLost);
}

const GOES_ON: readonly Explained["verdict"][] = ["sent", "delivered"];

export const isProbablyLost = ({ path }: AtNode): boolean => path?.state === "silent";

/** Whether weft delivers it, and its host sends it no further. */
const isStranded = ({ verdict, host }: AtNode): boolean =>
  verdict === "delivered" && (host?.to === "nowhere" || host?.to === "refused");

export function verdictOf(node: AtNode): string {
  const { verdict, reason } = node;
  if (verdict === "not-carried") return "not carried by weft";
  if (reason !== undefined) return `${verdict}: ${reason}`;
  if (isStranded(node)) return `${verdict}, but no further than the host`;
  return isProbablyLost(node) ? `${verdict}, but probably lost` : verdict;
}

/** Undefined if the host only passes it to weft. */
export function hostInWords({ to, device, via, route, why }: HostView): string | undefined {
  switch (to) {
    case "weft":
      return why;
    case "local":
      return "keeps it: the destination is an address of this host";
    case "device":
      return `sends it by ${device ?? "another device"}${via === undefined ? "" : ` via ${via}`}${route === undefined ? "" : `, by the route ${route}`}`;
    case "refused":
      return `does not send it on: ${why}`;
    case "nowhere":
      return why;
  }
}

/** `direct to 192.0.2.2:4789: no probe has been answered by h2 since 2026-11-30T08:00:00Z` */
export function pathInWords({ state, answered, path, endpoint }: PathView, peer: string): string {
  const way = `${path} to ${endpoint}`;
  const at = seconds(answered);
  switch (state) {
    case "answers":
      return `${way}: ${peer} answered a probe at ${at}`;
    case "silent":
      return `${way}: no probe has been answered by ${peer} since ${at}`;
    case "unknown":
      return `${way}: ${peer} answers no probes, so whether it arrives is not known`;
  }
}
