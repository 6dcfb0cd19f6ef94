/**
 * The last lines of a test run: what this machine could not run, and why, or
 * that everything ran. The same goes to build/test-summary.json for scripts.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

export interface Skipped {
  readonly test: string;
  readonly why: string;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** build/test-summary.json */
export interface Summary {
  /** By test file, from the top of the checkout. */
  readonly files: Record<string, Counts>;
  readonly skipped: readonly Skipped[];
}

const FILE = "build/test-summary.json";
const NO_REASON = "skipped in the test file, no reason given";

export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const summary = summarize(modules);
    mkdirSync(dirname(FILE), { recursive: true });
    writeFileSync(FILE, `${JSON.stringify(summary, null, 2)}\n`);
    console.log(lastLines(summary.skipped).join("\n"));
  }
}

export function lastLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return ["Nothing was skipped: this machine ran every test."];
  const reasons = [...new Set(skipped.map(({ why }) => why))];
  return [
    `This machine could not run ${skipped.length} of the tests:`,
    ...reasons.flatMap((reason) => [
      `  ${reason}:`,
      ...skipped.filter(({ why }) => why === reason).map(({ test }) => `    ${test}`),
    ]),
  ];
}

function summarize(modules: readonly TestModule[]): Summary {
  const files: Record<string, Counts> = {};
  const skipped: Skipped[] = [];
  for (const module of modules) {
    const file = relative(process.cwd(), module.moduleId);
    const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
    files[file] = counts;
    // A file whose own hooks or imports broke has failed, whatever its tests say.
    if (module.state() === "failed") counts.failed += 1;
    for (const test of module.children.allTests()) {
      const state = test.result().state;
      if (state === "pending") continue;
      counts[state] += 1;
      if (state === "skipped" && !stoppedByFailure(test)) {
        skipped.push({ test: `${file} > ${test.fullName}`, why: reason(test) });
      }
    }
  }
  return { files, skipped };
}

/** Tests behind a broken hook are reported as skipped; their failure is told elsewhere. */
function stoppedByFailure(test: TestCase): boolean {
  for (let suite: TestCase["parent"] = test.parent; ; suite = suite.parent) {
    if (suite.state() === "failed" && suite.errors().length > 0) return true;
    if (suite.type === "module") return false;
  }
}

function reason(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || NO_REASON;
}
