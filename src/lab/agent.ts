/** A real agent on a host of the lab: `weft up`, started as an operator would start it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { PeerRow, Status } from "../http/view.js";
import type { Host } from "./namespace.js";
import { ROOT } from "./root.js";
import type { Finished, RunningProgram } from "./running.js";

export interface AgentOptions {
  /** Hosts whose agents it dials; without any, it founds a new network. */
  readonly join?: readonly Host[];
  readonly secret?: string;
  /** The family of the host's address that is its underlay, by default 4. `found`: the agent finds it itself. */
  readonly underlay?: 4 | 6 | "found";
  /** A command that runs its arguments in a special environment; it comes first in the command line. */
  readonly inside?: readonly string[];
  /** Flags of Node itself. */
  readonly node?: readonly string[];
  /** Further flags, given last; they replace those of the lab. */
  readonly flags?: readonly string[];
}

/** The answer of `GET /v1/status`; agents of a lab have a lease, and so an address. */
export type AgentStatus = Status & { readonly address: string };

export const LAB_SECRET = "a secret only this lab knows";

const PROGRAM = join(ROOT, "dist/cli/weft.js");
const POLL_MS = 200;
/** Milliseconds until a start counts as failed; on an idle machine an agent is healthy after one second. */
const HEALTHY_LIMIT_MS = 60_000;
const ANSWER_LIMIT = 1024 * 1024;

export class LabAgent {
  readonly #secretFile: string;

  private constructor(
    readonly host: Host,
    readonly process: RunningProgram,
    readonly socket: string,
    readonly state: string,
    secretFile: string,
  ) {
    this.#secretFile = secretFile;
  }

  static start(host: Host, folder: string, options: AgentOptions): LabAgent {
    const own = join(folder, host.name);
    const [socket, state, secret] = ["weft.sock", "state", "secret"].map((it) => join(own, it)) as [
      string,
      string,
      string,
    ];
    mkdirSync(own, { recursive: true });
    writeFileSync(secret, `${options.secret ?? LAB_SECRET}\n`, { mode: 0o600 });
    const underlay = ({ address, address6 }: Host) => (options.underlay === 6 ? address6 : address);
    const { flags = [] } = options;
    /** weft refuses a flag that is given twice, so a flag of the caller replaces the lab's. */
    const unlessGiven = (...flag: readonly string[]) => (flags.includes(flag[0]!) ? [] : flag);
    const argv = [
      ...(options.inside ?? []),
      process.execPath,
      ...(options.node ?? []),
      PROGRAM,
      "up",
      ...unlessGiven("--name", host.name),
    ];
    if (options.underlay !== "found") argv.push(...unlessGiven("--underlay", underlay(host)));
    argv.push(...unlessGiven("--secret-file", secret), ...unlessGiven("--state", state));
    argv.push(...unlessGiven("--socket", socket));
    for (const other of options.join ?? []) argv.push("--join", bracketed(underlay(other)));
    argv.push(...flags);
    return new LabAgent(host, host.spawn(argv), socket, state, secret);
  }

  /** Runs a `weft` command against this agent. */
  weft(...argv: string[]): Promise<Finished> {
    return this.host.run(this.#command(argv));
  }

  /** Starts a `weft` command that runs until it is stopped. */
  spawn(...argv: string[]): RunningProgram {
    return this.host.spawn(this.#command(argv));
  }

  #command(argv: readonly string[]): string[] {
    return [process.execPath, PROGRAM, ...argv, "--socket", this.socket];
  }

  /** One document of the control socket; undefined while the agent does not answer. */
  get<T>(path: string): Promise<T | undefined> {
    return new Promise((resolve) => {
      const nothing = () => resolve(undefined);
      const asked = request({ socketPath: this.socket, path, timeout: 2_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
          if (text.length > ANSWER_LIMIT) asked.destroy();
        });
        response.on("error", nothing);
        response.on("end", () =>
          response.statusCode === 200 ? resolve(JSON.parse(text)) : nothing(),
        );
      });
      asked.on("timeout", () => asked.destroy());
      asked.on("error", nothing);
      asked.end();
    });
  }

  status(): Promise<AgentStatus | undefined> {
    return this.get<AgentStatus>("/v1/status");
  }

  /** Waits until the agent is healthy and has a path to at least `peers` peers. */
  async waitHealthy({ peers = 0, limitMs = HEALTHY_LIMIT_MS } = {}): Promise<AgentStatus> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const status = await this.status();
      if (status?.healthy && (await this.#reached()) >= peers) return status;
      if (this.process.ended) throw this.#failed("ended before it was healthy");
      if (Date.now() > deadline) {
        throw this.#failed(`is not healthy after ${limitMs} ms: ${JSON.stringify(status)}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** The number of peers to which there is a path. */
  async #reached(): Promise<number> {
    const rows = (await this.get<PeerRow[]>("/v1/peers")) ?? [];
    return rows.filter(({ noPath }) => !noPath).length;
  }

  /** Writes secrets into the agent's file and sends SIGHUP. Throws if the agent refuses them. */
  async changeSecrets(secrets: readonly string[]): Promise<void> {
    const answers = () => [
      ...this.process.output.matchAll(/the secrets are read again|SIGHUP: .*/g),
    ];
    const before = answers().length;
    writeFileSync(this.#secretFile, `${secrets.join("\n")}\n`);
    this.process.kill("SIGHUP");
    while (answers().length === before) {
      if (this.process.ended) throw this.#failed("ended on SIGHUP");
      await sleep(POLL_MS);
    }
    const [answer = ""] = answers().at(-1) ?? [];
    if (answer.startsWith("SIGHUP")) throw new Error(answer);
  }

  /** Sends a signal and waits until the process has ended. */
  async kill(signal: NodeJS.Signals = "SIGTERM"): Promise<Finished> {
    this.process.kill(signal);
    return await this.process.finish(10_000);
  }

  #failed(why: string): Error {
    return new Error(`the agent on ${this.host.name} ${why}\n${this.process.output.slice(-4_000)}`);
  }
}

/** An address in the form that a port may follow: an IPv6 address in brackets. */
const bracketed = (address: string): string => (address.includes(":") ? `[${address}]` : address);
