/** `weft policy`: applies, shows and tests the policy of the cluster. */
import { Command, Option } from "commander";
import { type Prefix, parsePrefix, printable } from "../address.js";
import { WeftError } from "../error.js";
import { type Coverage, CoverageView, type Unseen, unseenInWords } from "../explain/coverage.js";
import { applyPolicy, ask, getPolicy, policyProgress } from "../http/client.js";
import { MAX_DOCUMENT, policyAsJson, readPolicy, readSealed } from "../policy/document.js";
import {
  type ExpectationResult,
  readExpectations,
  tryExpectations,
} from "../policy/expectations.js";
import type { Members } from "../policy/resolver.js";
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
A policy defines which connections are allowed. The cluster has one policy: it can be
applied on any node that has a lease, spreads to all nodes through the mesh, and stays in
force over a restart. A file with a mistake is refused as a whole, with the line, and the
policy in force stays. Each node reports its own version: the counts are those known here.
test evaluates the rules only; weft explain also shows whether a packet arrives. Both name
packets of this node that never come to weft, as between two containers of one host without
--through-core: no rule applies to them. So do apply and weft status.

policy.yaml, which opens one port of a web server and closes the rest:
  policies:
    - name: web
      applies: [10.244.2.80]
      ingress:
        - { action: allow, protocol: tcp, from: [10.244.0.0/16], ports: [80] }

expected.yaml, the verdicts that it should give:
  expect:
    - { src: 10.244.1.5, dst: 10.244.2.80, protocol: tcp, ports: [80], verdict: allow }
    - { src: 10.244.1.5, dst: 10.244.2.80, protocol: tcp, ports: [22], verdict: deny }

Examples:
  weft policy test expected.yaml --policy policy.yaml      test it before it is applied
  weft policy apply policy.yaml --dry-run                  would it be accepted?
  weft policy apply policy.yaml
  generate | weft policy apply -                           from stdin
  weft policy apply policy.yaml --wait 120                 until all living nodes have it in force
  weft policy get
  weft policy test expected.yaml                           test the policy in force
`;

const FILE: DocumentFile = {
  code: "POLICY",
  most: MAX_DOCUMENT,
  shorten: "let one rule name more addresses and ports",
};

export function policy(): Command {
  const command = new Command("policy")
    .description("apply, show or test the policy of the cluster")
    .addHelpText("after", HELP);
  for (const verb of [apply(), get(), test()]) command.addCommand(verb);
  return command;
}

const APPLY_HELP = `
Exit code: 0 it is (with --dry-run: would be) accepted, with --wait in force on all living nodes, 1 it
is not, 2 the file has a mistake, 3 no agent answers. Without --wait it follows the nodes for 2 seconds.

Examples:
  weft policy apply policy.yaml --dry-run
  weft policy apply policy.yaml --wait 120
`;

function apply(): Command {
  const command = new Command("apply")
    .argument("<FILE>", "the policy, YAML or JSON; -: from stdin")
    .description("apply a policy to the cluster, and report which nodes have it in force");
  for (const option of applyOptions()) command.addOption(option);
  return command
    .addOption(socketOption())
    .addHelpText("after", APPLY_HELP)
    .action(
      async (
        file: string,
        { dryRun = false, resetVersion = false, wait: seconds, socket }: ApplyFlags,
      ) => {
        const json = policyAsJson(await loadDocument(file, FILE), inputName(file));
        readSealed(json, inputName(file));
        const report = await applyPolicy(socket, json, { dryRun, resetVersion });
        const { version, hash, rules, absent, outside, unseen } = report;
        const here = `${rules.egress} egress and ${rules.ingress} ingress rules here`;
        process.stdout.write(
          version === null
            ? `it would be accepted: ${here}; nothing has changed\n`
            : `version ${version} (${hash}) is the newest policy: ${here}\n`,
        );
        if (absent.length > 0) {
          process.stderr.write(`no node has seen these nodes yet: ${absent.join(", ")}\n`);
        }
        for (const { where, prefix } of outside) {
          process.stderr.write(`${printable(where)}: ${prefix} ${OUTSIDE}\n`);
        }
        for (const one of unseen) {
          process.stderr.write(`no rule applies here: ${unseenInWords(one)}\n`);
        }
        if (version === null || hash === null) return;
        const progress = () => policyProgress(socket);
        const isEverywhere = await follow({ version, hash, verb: "policy", progress }, seconds);
        if (seconds !== undefined && !isEverywhere) process.exitCode = exit.failed;
      },
    );
}

const OUTSIDE =
  "is outside of the cluster network and of every static peer, so no packet has such an address";

const get = (): Command =>
  new Command("get")
    .description(
      "print the newest policy, in a form to apply again, and which nodes have it in force",
    )
    .addOption(outputOption())
    .addOption(socketOption())
    .action(async ({ output, socket }: { output: string } & Socket) => {
      const held = await getPolicy(socket);
      if (output === "json") return void process.stdout.write(asJson(held));
      if (!held) throw await noPolicy(socket);
      process.stdout.write(withHeading(held, await policyProgress(socket)));
    });

const test = (): Command =>
  new Command("test")
    .argument("<FILE>", "expected verdicts, YAML or JSON; -: from stdin")
    .description("test expected verdicts against the policy in force; exit 1 if one is not met")
    .addOption(new Option("--policy <FILE>", "test this policy instead"))
    .addOption(outputOption())
    .addOption(socketOption())
    .action(async (file: string, { policy, output, socket }: { policy?: string } & Both) => {
      refuseStdinTwice(file, policy);
      const document =
        policy === undefined
          ? await inForce(socket)
          : readPolicy(await loadDocument(policy, FILE), inputName(policy));
      const { members, coverage } = await clusterOf(socket, policy !== undefined);
      const expected = readExpectations(await loadDocument(file, FILE), inputName(file), members);
      // A file with nodes of its own is about another cluster.
      const isHere = expected.members === members;
      const outcomes = withUnseen(
        tryExpectations(document, expected),
        isHere ? coverage : undefined,
      );
      process.stdout.write(output === "json" ? asJson(outcomes) : print(outcomes));
      process.stderr.write(unseenLines(outcomes));
      process.exitCode = outcomes.every(({ isMet }) => isMet) ? exit.ok : exit.failed;
    });

interface Socket {
  readonly socket: string;
}

interface Both extends Socket {
  readonly output: string;
}

async function inForce(socket: string) {
  const held = await getPolicy(socket);
  if (!held) throw await noPolicy(socket);
  return readSealed(held.text, "the policy in force");
}

interface Cluster {
  /** The leases of each node. */
  readonly members: Members;
  /** Of this node. */
  readonly coverage?: Coverage;
}

/** Without an agent there are no members, and the file must give them. */
async function clusterOf(socket: string, canDoWithout: boolean): Promise<Cluster> {
  const members = new Map<string, Prefix[]>();
  try {
    for (const { owner, subnet, isReserved } of await ask(socket, "leases")) {
      if (isReserved) continue; // A policy applies to the leases of members.
      members.set(owner, [...(members.get(owner) ?? []), parsePrefix(subnet)]);
    }
    return { members, coverage: (await ask(socket, "status")).coverage };
  } catch (error) {
    if (!canDoWithout || !(error instanceof WeftError) || error.code !== "NO_AGENT") throw error;
  }
  return { members };
}

/** The verdict of the rules, and the reason why this node does not apply them to such packets, if so. */
type TestedPacket = ExpectationResult & { readonly unseen?: Unseen };

function withUnseen(
  outcomes: readonly ExpectationResult[],
  coverage: Coverage | undefined,
): readonly TestedPacket[] {
  if (!coverage) return outcomes;
  const view = new CoverageView(coverage);
  return outcomes.map((one) => {
    const unseen = view.unseenBetween(view.endOf(one.source), view.endOf(one.destination));
    return unseen ? { ...one, unseen } : one;
  });
}

/** One line for each reason. */
function unseenLines(outcomes: readonly TestedPacket[]): string {
  const lines = new Map<string, number[]>();
  for (const { line, unseen } of outcomes) {
    if (!unseen) continue;
    const why = unseenInWords(unseen);
    lines.set(why, [...(lines.get(why) ?? []), line]);
  }
  return [...lines]
    .map(([why, [first, ...more]]) => {
      const others = more.length > 0 ? ` and ${more.length} more` : "";
      return `line ${first}${others}: no rule applies on this node: ${why}\n`;
    })
    .join("");
}

const print = (outcomes: readonly ExpectationResult[]): string =>
  table(
    ["LINE", "", "SRC", "DST", "PROTO", "PORT", "EXPECTED", "FOUND"],
    outcomes.map((one) => [
      one.line,
      one.isMet ? "ok" : "NOT MET",
      one.source,
      one.destination,
      one.protocol,
      one.port ?? null,
      one.expected,
      one.found,
    ]),
  );

/** The node holds no policy: the cluster has none, or the node does not know yet and passes no packet. */
async function noPolicy(socket: string): Promise<WeftError> {
  const { policy } = await ask(socket, "status");
  const [what, remedy] =
    policy.version === null
      ? ["this node does not know yet whether the cluster has a policy", "see: weft status"]
      : ["the cluster has no policy: everything is open", "apply one with: weft policy apply FILE"];
  return new WeftError("NO_POLICY", what, remedy);
}
