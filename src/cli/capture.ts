/** `weft capture`: shows packets as they arrive, the fate of each, and the reason. */
import { once } from "node:events";
import { constants, createWriteStream, fstatSync, ftruncateSync } from "node:fs";
import type { Writable } from "node:stream";
import { Command, InvalidArgumentError, Option } from "commander";
import { DEFAULT_SNAPLEN } from "../core/capture.js";
import { explainReason } from "../core/reasons.js";
import { WeftError } from "../error.js";
import { inWords as packetInWords, wordsOf } from "../explain/headers.js";
import { openOwn } from "../host/own.js";
import { captured } from "../http/capture-client.js";
import type { CapturedRow } from "../http/view.js";
import { pcapngHeader, pcapngPacket, pcapngStatistics } from "../io/pcapng.js";
import { inWords as ruleInWords } from "../policy/place.js";
import { socketOption } from "./shared.js";

const HELP = `
Prints a line for each packet: time, peer, protocol, addresses and ports, verdict, reason
and rule. OUT is from this host to its peers, IN from them to it. With -w it writes a file
for Wireshark, in which the comment of each packet has these fields.

A filter is [PROTOCOL] [END [END]]. An END is an address or prefix, a port, or both;
either END may be the source. The agent buffers packets that are not read in time, up to a
bound; the number of packets lost beyond it is printed at the end. A node runs one capture
at a time.

Examples:
  weft capture --dropped                                     dropped and refused packets
  weft capture --filter "tcp 10.244.1.5 10.244.2.80:443"     one connection, both directions
  weft capture --filter "udp :53" --count 10
  weft capture -w file.pcapng --duration 30
  weft capture -w - | tshark -r -
`;

interface Given {
  readonly write?: string;
  readonly dropped?: boolean;
  readonly filter?: string;
  readonly count?: number;
  readonly duration?: number;
  readonly snaplen: number;
  readonly output: string;
  readonly socket: string;
}

export const capture = (): Command =>
  new Command("capture")
    .description("show packets as they arrive, the fate of each, and why")
    .addOption(
      new Option("-w, --write <FILE>", "write a pcapng file instead; -: to stdout").conflicts(
        "output",
      ),
    )
    .addOption(new Option("--dropped", "only packets that are dropped or refused"))
    .addOption(new Option("--filter <FILTER>", "only packets of this connection"))
    .addOption(new Option("--count <N>", "stop after this many packets").argParser(positive))
    .addOption(
      new Option("--duration <SECONDS>", "stop after this many seconds").argParser(positive),
    )
    .addOption(
      new Option("--snaplen <N>", "bytes of each packet")
        .argParser(positive)
        .default(DEFAULT_SNAPLEN),
    )
    .addOption(
      new Option("-o, --output <format>", "how to print it: json is a line for each packet")
        .choices(["table", "json"])
        .default("table", "table"),
    )
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(run);

function positive(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("give a whole number from 1 on");
}

async function run({ socket, count, duration, output, write, ...asked }: Given): Promise<void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  const packets = await captured(socket, queryOf(asked), ending.signal);
  const form = write === undefined ? (output === "json" ? JSON_LINES : LINES) : pcapng(asked);
  const out = write === undefined || write === "-" ? process.stdout : open(write);
  const sink = new Sink(out, end);
  const interrupt = () => {
    end();
    sink.hurry();
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  process.stderr.write("weft: capturing, until Ctrl-C\n");
  if (duration !== undefined) setTimeout(end, duration * 1000).unref();

  let [taken, lost, lostBefore] = [0, 0, 0];
  try {
    await sink.write(form.begin);
    for await (const line of packets) {
      if ("lost" in line) {
        lost = line.lost;
        continue;
      }
      await sink.write(form.packet(line, lost - lostBefore));
      lostBefore = lost;
      if (++taken === count) break;
    }
  } finally {
    await sink.write(form.end(taken, lost));
    await sink.close();
    process.stderr.write(`weft: ${taken} packets captured, ${lost} lost\n`);
  }
}

function queryOf({ dropped, filter, snaplen }: Pick<Given, "dropped" | "filter" | "snaplen">) {
  return {
    snaplen: `${snaplen}`,
    ...(dropped && { dropped: "true" }),
    ...(filter !== undefined && { filter }),
  };
}

// ---------------------------------------------------------------- output formats

interface Form {
  readonly begin: string | Uint8Array;
  packet(row: CapturedRow, lostBefore: number): string | Uint8Array;
  end(taken: number, lost: number): string | Uint8Array;
}

const JSON_LINES: Form = {
  begin: "",
  packet: (row) => `${JSON.stringify(row)}\n`,
  end: () => "",
};

const LINES: Form = {
  begin: "",
  packet: (row) => `${harmless(sentence(row))}\n`,
  end: () => "",
};

/** In a file, the comment of a packet has everything but its bytes. */
const pcapng = ({ snaplen }: Pick<Given, "snaplen">): Form => ({
  begin: pcapngHeader("weft", "weft", snaplen),
  packet: (row, lost) =>
    pcapngPacket({
      time: nanoseconds(row.time),
      direction: row.direction,
      bytes: Buffer.from(row.bytes, "hex"),
      length: row.length,
      comment: harmless(comment(row)),
      lost,
    }),
  end: (taken, lost) => pcapngStatistics(nanoseconds(Date.now()), taken + lost, lost),
});

const nanoseconds = (ms: number): bigint =>
  BigInt(Math.floor(ms)) * 1_000_000n + BigInt(Math.floor((ms % 1) * 1e6));

/** `08:12:44.123456 in  b  tcp 10.244.1.5:49152 > 10.244.2.80:22, 60 bytes: answered, denied-ingress, ...` */
function sentence(row: CapturedRow): string {
  const { direction, peer, sender, relayedTo, length, segmentSize, bytes } = row;
  const onward = relayedTo === undefined ? "" : ` to ${relayedTo}`;
  const who = `${direction.padEnd(3)} ${peer ?? sender ?? "-"}${onward}`;
  const words = packetInWords(wordsOf(Buffer.from(bytes, "hex")));
  const size = `${length} bytes${segmentSize ? ` in segments of ${segmentSize}` : ""}`;
  return `${clock(row.time)} ${who}  ${words}, ${size}: ${[row.verdict, ...why(row)].join(", ")}`;
}

/** `in from b at 192.0.2.2:4789: answered, denied-ingress, web ingress 1: deny (...), a policy ...` */
function comment(row: CapturedRow): string {
  const { direction, peer, sender, relayedTo, segmentSize, reason, verdict } = row;
  const from = peer === null ? sender : `${peer} at ${sender}`;
  const onward = relayedTo === undefined ? "" : ` to ${relayedTo}`;
  const way = direction === "in" ? `in from ${from}${onward}` : `out to ${peer ?? "no peer"}`;
  const parts = segmentSize ? [`segments of ${segmentSize} bytes`] : [];
  const said = reason ? [explainReason(reason)] : [];
  return `${way}: ${[verdict, ...why(row), ...said, ...parts].join(", ")}`;
}

const why = ({ reason, rule }: CapturedRow): string[] => [
  ...(reason ? [reason] : []),
  ...(rule ? [ruleInWords(rule)] : []),
];

/** Peers supply parts of the text: it must not contain control characters of the terminal. */
const harmless = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?");

/** Time of the day, to the microsecond. */
function clock(ms: number): string {
  const micros = `${Math.floor((ms % 1) * 1000)}`.padStart(3, "0");
  const at = new Date(ms);
  const [hours, minutes, seconds] = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) =>
    `${part}`.padStart(2, "0"),
  );
  return `${hours}:${minutes}:${seconds}.${`${at.getMilliseconds()}`.padStart(3, "0")}${micros}`;
}

// ---------------------------------------------------------------- output files

/** Packets may contain confidential data: only the user reads the file. */
const FILE_MODE = 0o600;

function open(path: string): Writable {
  try {
    const fd = openOwn(path, FILE_MODE, constants.O_WRONLY);
    if (fstatSync(fd).isFile()) ftruncateSync(fd);
    return createWriteStream(path, { fd });
  } catch (error) {
    throw cannotWrite(error as Error);
  }
}

const cannotWrite = ({ message }: Error): WeftError =>
  new WeftError(
    "FILE",
    `the file cannot be written: ${message}`,
    "give another with -w, or - for stdout",
  );

const UNREAD = () =>
  new WeftError(
    "FILE",
    "the reader of the output has stopped reading: the last packets are lost",
    "end or resume the reader",
  );

/** Milliseconds for the reader of the output to take the rest, once the capture is interrupted. */
const REST_WITHIN = 1_000;

/** Waits for the reader of the output. When the reader ends, the capture ends. */
class Sink {
  readonly #out: Writable;
  /** Ends the waits for the reader. */
  readonly #late = new AbortController();
  readonly #givenUp = once(this.#late.signal, "abort");
  #failure: NodeJS.ErrnoException | undefined;

  constructor(out: Writable, end: () => void) {
    this.#out = out.on("error", (error) => {
      this.#failure = error;
      end();
    });
  }

  /** From now on the reader has `REST_WITHIN`. */
  hurry(): void {
    setTimeout(() => this.#late.abort(), REST_WITHIN).unref();
  }

  async write(bytes: string | Uint8Array): Promise<void> {
    if (this.#failure || bytes.length === 0 || this.#out.write(bytes)) return;
    await once(this.#out, "drain", this.#late).catch(() => {});
  }

  /** `| head` closes the pipe early, which is no error. */
  async close(): Promise<void> {
    if (!this.#failure) await this.#flush();
    if (this.#failure && this.#failure.code !== "EPIPE") throw cannotWrite(this.#failure);
    if (this.#late.signal.aborted && this.#out.writableLength > 0) throw UNREAD();
  }

  async #flush(): Promise<void> {
    const out = this.#out;
    if (out === process.stdout) {
      await Promise.race([new Promise((written) => out.write("", written)), this.#givenUp]);
    } else {
      out.end();
      await once(out, "close", this.#late).catch(() => {});
    }
  }
}
