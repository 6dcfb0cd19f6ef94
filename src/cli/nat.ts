/** `weft nat`: applies, shows, compares and tests the cluster's document of address translation. */
import { Command, Option } from "commander";
import { WeftError } from "../error.js";
import { applyNat, ask, getNat, natProgress } from "../http/client.js";
import type { NatReport } from "../http/view.js";
import { type NatChange, natDiff } from "../nat/diff.js";
import {
  MAX_NAT_DOCUMENT,
  type NatDocument,
  NO_NAT,
  natAsJson,
  natCounts,
  readNat,
  readSealedNat,
} from "../nat/document.js";
import {
  type NatExpectationResult,
  readNatExpectations,
  tryNatExpectations,
} from "../nat/expectations.js";
import {
  type ApplyFlags,
  applyOptions,
  type DocumentFile,
  loadDocument,
  refuseStdinTwice,
  withHeading,
} from "./document.js";
import { follow } from "./document-wait.js";
import { exit } from "./exit.js";
import { inputName } from "./input.js";
import { asJson, outputOption, socketOption } from "./shared.js";
import { table } from "./table.js";

const HELP = `
A translation document names services (a virtual address in front of backends), published
ports, and the sources that are replaced. The cluster has one: it can be applied on any node
that has a lease, spreads to all nodes through the mesh, and stays in force over a restart.
Each node does its own part. A file with a mistake is refused as a whole, with the line, and
the document in force stays.

nat.yaml, a service in front of two backends:
  services:
    - name: web
      protocol: tcp
      address: 10.96.0.10
      port: 80
      backends: [10.244.1.5:8080, 10.244.2.5:8080]

Examples:
  weft nat test nat.yaml                       is it free of mistakes? No agent is needed
  weft nat diff nat.yaml                       what would it change?
  weft nat apply nat.yaml --wait 120           until all living nodes have it in force
  generate | weft nat apply -                  from stdin
  weft nat get
`;

const FILE: DocumentFile = {
  code: "NAT",
  most: MAX_NAT_DOCUMENT,
  shorten: "give the services fewer backends",
};

const EXPECTED: DocumentFile = {
  ...FILE,
  code: "NAT_TEST",
  shorten: "split it into several files",
};

export function nat(): Command {
  const command = new Command("nat")
    .description("apply, show, compare or test the address translation of the cluster")
    .addHelpText("after", HELP);
  for (const verb of [apply(), get(), diff(), test()]) command.addCommand(verb);
  return command;
}

const APPLY_HELP = `
Exit code: 0 it is (with --dry-run: would be) accepted, with --wait in force on all living nodes, 1 it
is not, 2 the file has a mistake, 3 no agent answers. Without --wait it follows the nodes for 2 seconds.

Examples:
  weft nat apply nat.yaml --dry-run
  weft nat apply nat.yaml --wait 120
  weft nat apply nat.yaml -o json | jq .version
`;

function apply(): Command {
  const command = new Command("apply")
    .argument("<FILE>", "the document, YAML or JSON; -: from stdin")
    .description("apply a document to the cluster, and report which nodes have it in force");
  for (const option of applyOptions()) command.addOption(option);
  return command
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", APPLY_HELP)
    .action(
      async (
        file: string,
        {
          dryRun = false,
          resetVersion = false,
          wait: seconds,
          output,
          socket,
        }: ApplyFlags & { output: string },
      ) => {
        const json = natAsJson(await loadDocument(file, FILE), inputName(file));
        readSealedNat(json, inputName(file));
        const report = await applyNat(socket, json, { dryRun, resetVersion });
        const { version, hash, absent, notes } = report;
        process.stdout.write(output === "json" ? asJson(report) : acceptedInWords(report));
        if (absent.length > 0) {
          process.stderr.write(`no node has seen these nodes yet: ${absent.join(", ")}\n`);
        }
        for (const note of notes) process.stderr.write(`${note}\n`);
        if (version === null || hash === null) return;
        const progress = () => natProgress(socket);
        const applied = { version, hash, verb: "nat", progress };
        const out = output === "json" ? process.stderr : process.stdout;
        const isEverywhere = await follow(applied, seconds, out);
        if (seconds !== undefined && !isEverywhere) process.exitCode = exit.failed;
      },
    );
}

function acceptedInWords({ version, hash, rules }: NatReport): string {
  const has = countsInWords(rules);
  return version === null
    ? `it would be accepted: ${has}; nothing has changed\n`
    : `version ${version} (${hash}) is the newest translation document: ${has}\n`;
}

function countsInWords(rules: NatReport["rules"]): string {
  const counts = Object.entries(rules).filter(([, count]) => count > 0);
  return (
    counts.map(([section, count]) => `${section} ${count}`).join(", ") || "it translates nothing"
  );
}

const get = (): Command =>
  new Command("get")
    .description(
      "print the newest document, in a form to apply again, and which nodes have it in force",
    )
    .addOption(outputOption())
    .addOption(socketOption())
    .action(async ({ output, socket }: { output: string; socket: string }) => {
      const held = await getNat(socket);
      if (output === "json") return void process.stdout.write(asJson(held));
      if (!held) throw await noDocument(socket);
      process.stdout.write(withHeading(held, await natProgress(socket)));
    });

const DIFF_HELP = `
Exit code: 0 they are the same, 1 they differ, 2 the file has a mistake, 3 no agent answers.
`;

const diff = (): Command =>
  new Command("diff")
    .argument("<FILE>", "the document, YAML or JSON; -: from stdin")
    .description("list what a document would change of the newest one")
    .addOption(outputOption())
    .addOption(socketOption())
    .addHelpText("after", DIFF_HELP)
    .action(async (file: string, { output, socket }: { output: string; socket: string }) => {
      const after = await load(file);
      const held = await getNat(socket);
      const before = held ? readSealedNat(held.text, "the newest document") : NO_NAT;
      const changes = natDiff(before, after);
      process.stdout.write(output === "json" ? asJson(changes) : changes.map(inWords).join(""));
      if (changes.length > 0) process.exitCode = exit.failed;
    });

function inWords({ entry, before, after }: NatChange): string {
  if (before === undefined) return `+ ${entry}: ${after}\n`;
  return after === undefined ? `- ${entry}: ${before}\n` : `~ ${entry}: ${before} -> ${after}\n`;
}

const TEST_HELP = `
It needs no agent. The expectations name the nodes and their leases. A service's client gets one
of its backends, so "to" lists all of them; "source" is the address that the other end sees, or
the pool that it is taken from. "by" names an entry: service NAME, port ADDRESS:PORT/PROTOCOL,
netmap N, egress N, snat N, masquerade N (counted from 0), return traffic, hairpin.

expected.yaml:
  nodes: { h1: [10.244.1.0/24], h2: [10.244.2.0/24] }
  expect:
    - { src: 10.244.1.9, dst: 10.96.0.10, protocol: tcp, port: 80,
        to: [10.244.1.5:8080, 10.244.2.5:8080], source: 10.244.1.9, by: service web }
    - { src: 192.0.2.7, node: h1, dst: 10.244.2.5, protocol: tcp, port: 22, source: 10.244.1.1 }

Exit code: 0 the file is free of mistakes and all is as expected, 1 it is not, 2 a file has a mistake.

Examples:
  weft nat test nat.yaml
  weft nat test nat.yaml --expect expected.yaml
`;

const test = (): Command =>
  new Command("test")
    .argument("<FILE>", "the document, YAML or JSON; -: from stdin")
    .description("check a document, and test expected translations; exit 1 if one is not met")
    .addOption(new Option("--expect <FILE>", "expected translations, YAML or JSON"))
    .addOption(outputOption())
    .addHelpText("after", TEST_HELP)
    .action(async (file: string, { expect, output }: { expect?: string; output: string }) => {
      refuseStdinTwice(file, expect);
      const document = await load(file);
      if (expect === undefined) {
        const rules = natCounts(document);
        process.stdout.write(
          output === "json" ? asJson({ rules }) : `no mistake: ${countsInWords(rules)}\n`,
        );
        return;
      }
      const expected = readNatExpectations(await loadDocument(expect, EXPECTED), inputName(expect));
      const outcomes = tryNatExpectations(document, expected);
      process.stdout.write(output === "json" ? asJson(outcomes) : print(outcomes));
      process.exitCode = outcomes.every(({ isMet }) => isMet) ? exit.ok : exit.failed;
    });

const print = (outcomes: readonly NatExpectationResult[]): string =>
  table(
    ["LINE", "", "SRC", "DST", "PROTO", "EXPECTED", "FOUND"],
    outcomes.map((one) => [
      one.line,
      one.isMet ? "ok" : "NOT MET",
      one.source,
      one.destination,
      one.protocol,
      one.expected,
      one.found.join("; "),
    ]),
  );

const load = async (file: string): Promise<NatDocument> =>
  readNat(await loadDocument(file, FILE), inputName(file));

/** The node holds no document: the cluster has none, or the node does not know yet and passes no packet. */
async function noDocument(socket: string): Promise<WeftError> {
  const { nat } = await ask(socket, "status");
  const [what, remedy] =
    nat.version === null
      ? [
          "this node does not know yet whether the cluster has a translation document",
          "see: weft status",
        ]
      : [
          "the cluster has no translation document: nothing is translated",
          "apply one with: weft nat apply FILE",
        ];
  return new WeftError("NO_NAT", what, remedy);
}
