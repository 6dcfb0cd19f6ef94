/**
 * The order of the test files. A file that takes long starts early, so that none is left alone at the
 * end; between those that wait come some that compute, so that the cores have work all the time.
 */
import { relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest of the files that wait, the longest first. */
const LONGEST = [
  "netns/clocks",
  "netns/line",
  "netns/taken-away",
  "host/each-step",
  "netns/path-mtu",
  "netns/forged-icmp",
  "netns/local-network",
  "netns/policy",
  "netns/kernel-peer",
  "netns/ecn",
  "netns/ipv6",
  "netns/death",
  "netns/leases",
  "netns/explain",
  "netns/offloads",
  "io/kernel",
  "netns/log-sinks",
  "netns/underlay-routes",
  "cli/policy",
];
/** So many files that wait come between two groups that compute: a process goes through a group. */
const WAITING_BETWEEN = 4;

export class FileOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const computing = sorted.filter(({ project }) => project.name === "computing");
    const waiting = sorted
      .filter((file) => !computing.includes(file))
      .sort((a, b) => placeOf(a) - placeOf(b));
    const gaps = Math.max(1, Math.ceil(waiting.length / WAITING_BETWEEN));
    const each = Math.ceil(computing.length / gaps);
    return Array.from({ length: gaps }, (_, n) => [
      ...waiting.slice(n * WAITING_BETWEEN, (n + 1) * WAITING_BETWEEN),
      ...computing.slice(n * each, (n + 1) * each),
    ]).flat();
  }
}

function placeOf({ moduleId }: TestSpecification): number {
  const place = LONGEST.indexOf(relative("test", moduleId).replace(".test.ts", ""));
  return place < 0 ? LONGEST.length : place;
}
