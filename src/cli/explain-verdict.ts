/** What `weft explain` says of a packet in the end. */
import type { PathView } from "../explain/path.js";
import type { Explained, ExplainedThere } from "../http/view.js";

type AtNode = Pick<Explained | ExplainedThere, "verdict" | "reason" | "path">;

/** Whether it goes on at the last node that was asked, and nothing on the way speaks against its coming there. */
export function goesOn({ further, ...here }: Explained): boolean {
  const nodes = [here, ...further];
  return GOES_ON.includes(nodes.at(-1)!.verdict) && !nodes.some(isProbablyLost);
}

const GOES_ON: readonly Explained["verdict"][] = ["sent", "delivered"];

export const isProbablyLost = ({ path }: AtNode): boolean => path?.state === "silent";

export function verdictOf(node: AtNode): string {
  const { verdict, reason } = node;
  if (reason !== undefined) return `${verdict}: ${reason}`;
  return isProbablyLost(node) ? `${verdict}, but probably lost` : verdict;
}

/** `direct to 192.0.2.2:4789: no probe has been answered by h2 since 2026-11-30T08:00:00Z` */
export function pathInWords({ state, answered, path, endpoint }: PathView, peer: string): string {
  const way = `${path} to ${endpoint}`;
  const at = answered?.replace(/\.\d+Z$/, "Z");
  switch (state) {
    case "answers":
      return `${way}: ${peer} answered a probe at ${at}`;
    case "silent":
      return `${way}: no probe has been answered by ${peer} since ${at}`;
    case "unknown":
      return `${way}: ${peer} answers no probes, so whether it arrives is not known`;
  }
}
