/**
 * The kernel's part of address translation: ports published on this host's own addresses, and
 * workloads that reach the world by them. It is one nftables table, replaced as a whole.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { contains } from "../address.js";
import { attempt, WeftError } from "../error.js";
import { remedyFor } from "../files/directory.js";
import type { HostPort } from "../nat/host-rules.js";
import { PROTOCOLS, protocolName } from "../protocol.js";
import { type HostTranslation, isNeeded, removal, replacement } from "./ruleset.js";

const TIMEOUT_MS = 10_000;
/** Bytes of output, enough for some ten thousand published ports. */
const MAX_OUTPUT = 16 * 1024 * 1024;

/** Ports that the agent itself has on this host. */
export interface OwnPorts {
  /** UDP port of the tunnel. */
  readonly port: number;
  /** TCP port of the mesh. */
  readonly meshPort: number;
}

export class HostNat {
  readonly #owner: string;
  readonly #file: string;
  readonly #ownPorts: OwnPorts;
  /** The commands that made the table; undefined if this run has made none. */
  #made: string | undefined;
  /** The table as it was listed after it was made. */
  #listed: string | undefined;
  /** Whether the host had no table of this agent at the first check; undefined before. */
  #wasBare: boolean | undefined;

  /** @param state the agent's state directory, which exists */
  constructor(state: string, ownPorts: OwnPorts) {
    const hash = createHash("sha256").update(realpathSync(state)).digest("hex").slice(0, 16);
    this.#owner = `agent-${hash}`;
    this.#file = join(state, "nft.json");
    this.#ownPorts = ownPorts;
  }

  /**
   * Makes the table, or makes it again if it was changed or removed. Without a translation, removes
   * it, also that of an earlier run.
   * @returns one sentence for each port that is not published, and for a failure
   */
  async set(translation: HostTranslation | undefined): Promise<string[]> {
    const { ports, refused } = this.#publishable(translation);
    const wanted = translation && { ...translation, ports };
    const failed = await attempt(() =>
      wanted && isNeeded(wanted) ? this.#make(wanted) : this.#remove(),
    );
    return [...refused, ...failed];
  }

  /**
   * Removes the table if there was none before the first `set`. One that a killed agent left is
   * replaced, not restored.
   * @returns one sentence for a failure
   */
  async restore(): Promise<readonly string[]> {
    return this.#wasBare ? await this.set(undefined) : [];
  }

  async #make(translation: HostTranslation): Promise<void> {
    const commands = replacement(this.#owner, translation);
    const text = JSON.stringify(commands);
    const present = await this.#look();
    if (text === this.#made && present === this.#listed) return;
    await this.#run(commands);
    this.#made = text;
    this.#listed = await list();
  }

  async #remove(): Promise<void> {
    const hasMade = this.#made !== undefined;
    if (!hasMade && this.#wasBare !== undefined) return;
    try {
      const present = await this.#look();
      if (present !== undefined) await this.#run(removal());
    } catch (error) {
      // Where nft does not work, or the table is another's, this agent has none.
      if (hasMade || !(error instanceof WeftError)) throw error;
    }
    this.#made = undefined;
    this.#wasBare ??= true;
  }

  /** The table as `nft` lists it; undefined if there is none. @throws WeftError if it is another's */
  async #look(): Promise<string | undefined> {
    const present = await list();
    this.#wasBare ??= present === undefined;
    if (present === undefined || present.includes(`"${this.#owner}"`)) return present;
    throw new WeftError(
      "CONFLICT",
      'the nftables table "inet weft" of this host was not made by this agent',
      "if no other agent runs here, remove it with: nft delete table inet weft",
    );
  }

  /**
   * Runs commands in one transaction. They are in a file, since `nft` opens its stdin by name, which the
   * socket that Node gives a child does not allow.
   */
  async #run(commands: readonly object[]): Promise<void> {
    try {
      writeFileSync(this.#file, JSON.stringify({ nftables: commands }), { mode: 0o600 });
      await nft("-j", "-f", this.#file);
    } catch (error) {
      if (error instanceof WeftError) throw error;
      throw new WeftError("STATE", (error as Error).message, remedyFor(error, "make room for it"));
    } finally {
      rmSync(this.#file, { force: true });
    }
  }

  /** A port is refused if publishing it would cut off this agent, or bypass the policy. */
  #publishable(translation: HostTranslation | undefined): {
    ports: HostPort[];
    refused: string[];
  } {
    const ports: HostPort[] = [];
    const refused: string[] = [];
    for (const it of translation?.ports ?? []) {
      const why = this.#whyNot(it, translation!);
      if (why === undefined) ports.push(it);
      else refused.push(`the port ${nameOf(it)} is not published: ${why}`);
    }
    return { ports, refused };
  }

  #whyNot({ protocol, port, to }: HostPort, translation: HostTranslation): string | undefined {
    const { port: tunnel, meshPort } = this.#ownPorts;
    const own = { [PROTOCOLS.tcp]: meshPort, [PROTOCOLS.udp]: tunnel }[protocol];
    if (port === own) return "weft itself uses it on this host: choose another";
    const isHere = translation.leases.some((lease) => contains(lease, to.address));
    if (isHere && !translation.interfaces) {
      return "its packets would bypass the policy on their way to a workload of this node: start weft with --through-core";
    }
    return undefined;
  }
}

/** `8080/tcp (IPv4)` */
const nameOf = ({ port, protocol, to }: HostPort): string =>
  `${port}/${protocolName(protocol)} (IPv${to.address.family})`;

/** The table in JSON; undefined if there is none. */
async function list(): Promise<string | undefined> {
  try {
    return await nft("-j", "list", "table", "inet", "weft");
  } catch (error) {
    if (error instanceof WeftError && /No such file or directory/.test(error.message)) {
      return undefined;
    }
    throw error;
  }
}

const nft = (...args: string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = {
      // This process's environment is not passed on, since it may hold the cluster secret.
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      timeout: TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT,
    };
    execFile("nft", args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      if (error.code === "ENOENT") return reject(NO_NFT());
      const [why = ""] = (stderr.trim() || error.message).split("\n", 1);
      reject(
        new WeftError(
          "NFT",
          `the kernel of this host translates no addresses for weft: ${why}`,
          "see whether it has nf_tables: modprobe nf_tables; nft list ruleset",
        ),
      );
    });
  });

const NO_NFT = () =>
  new WeftError(
    "NO_NFT",
    "the kernel of this host translates no addresses for weft: the nft command is not installed, or not in PATH",
    "install it with: apt install nftables",
  );
