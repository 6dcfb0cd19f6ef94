/** Explains the packets of a capture file: `weft explain --pcap`. */
import { contains, type Prefix, parseAddress, parsePrefix, printable } from "../address.js";
import { WeftError } from "../error.js";
import { inWords, wordsOf } from "../explain/headers.js";
import { type Frame, framesIn } from "../explain/pcap.js";
import { firstSegment } from "../explain/segment.js";
import { whyUnreadable } from "../files/regular-file.js";
import { ask, explain as askAgent } from "../http/client.js";
import type { Explained } from "../http/view.js";
import { nameOf } from "../policy/place.js";
import { goesOn, verdictOf } from "./explain-verdict.js";
import { inputName, readInput } from "./input.js";
import { type Cell, table } from "./table.js";

const MAX_FILE = 256 * 1024 * 1024;

interface ExplainFileOptions {
  readonly path: string;
  /** Number of frames to read. */
  readonly count: number;
  readonly socket: string;
  /** Direction and peer. Default: a packet whose source a peer holds comes from that peer. */
  readonly way: object;
  readonly isJson: boolean;
}

/** Prints one line per packet. @returns whether all of them go on */
export async function explainFile({
  path,
  count,
  socket,
  way,
  isJson,
}: ExplainFileOptions): Promise<boolean> {
  const file = await load(path);
  const rows: Cell[][] = [];
  let [frames, unread, doAll] = [0, 0, true];
  const { mtu } = await ask(socket, "status");
  const isGiven = Object.keys(way).length > 0;
  const others = await leasesOfOthers(socket);
  const wayOf = (packet: Uint8Array) =>
    !isGiven && comesFrom(others, packet) ? { direction: "in" } : way;
  for (const { number, packet } of framesIn(file, count)) {
    frames = number;
    if (!packet) {
      unread++;
      continue;
    }
    const question = { packet: asHex(packet, mtu), ...wayOf(packet) };
    const answer = await askAgent(socket, question, { here: true });
    doAll &&= goesOn(answer);
    if (isJson) process.stdout.write(`${JSON.stringify({ frame: number, ...answer })}\n`);
    else rows.push(rowOf(number, answer));
  }
  if (!isJson) process.stdout.write(table(["FRAME", "WAY", "PACKET", "VERDICT", "RULE"], rows));
  if (unread > 0) process.stderr.write(`frames that hold no IP packet: ${unread}\n`);
  if (frames === count)
    process.stderr.write(`frames tried: ${count}; --count takes more or fewer\n`);
  return doAll;
}

async function leasesOfOthers(socket: string): Promise<Prefix[]> {
  const rows = await ask(socket, "leases");
  return rows
    .filter(({ state, isReserved }) => state !== "self" && !isReserved)
    .map(({ subnet }) => parsePrefix(subnet));
}

function comesFrom(leases: readonly Prefix[], packet: Uint8Array): boolean {
  const src = wordsOf(packet)?.src;
  return src !== undefined && leases.some((lease) => contains(lease, parseAddress(src)));
}

/** The packet as hex. */
export async function packetAt(path: string, wanted: number, socket: string): Promise<string> {
  const { packet } = await frameAt(path, wanted);
  if (!packet) {
    throw unusable(path, `holds no IP packet in frame ${wanted}`, "choose another --number");
  }
  return asHex(packet, (await ask(socket, "status")).mtu);
}

async function frameAt(path: string, wanted: number): Promise<Frame> {
  for (const frame of framesIn(await load(path), wanted)) if (frame.number === wanted) return frame;
  throw unusable(path, `has no frame ${wanted}`, "choose a lower --number");
}

const rowOf = (frame: number, answer: Explained): Cell[] => [
  frame,
  answer.direction,
  inWords(answer.packet),
  verdictOf(answer),
  answer.rule ? nameOf(answer.rule) : null,
];

/** The device segments longer packets, so only the first segment is explained. */
const asHex = (packet: Uint8Array, mtu: number): string =>
  Buffer.from(firstSegment(packet, mtu)).toString("hex");

async function load(path: string): Promise<Uint8Array> {
  try {
    return await readInput(path, MAX_FILE);
  } catch (error) {
    const isLong = (error as NodeJS.ErrnoException).code === "EFBIG";
    const remedy = isLong
      ? "cut it: editcap -r FILE PART 1-100000"
      : "give the path of a readable file";
    throw unusable(path, whyUnreadable(error, MAX_FILE), remedy);
  }
}

const unusable = (path: string, why: string, remedy: string): WeftError =>
  new WeftError("PCAP", `${printable(inputName(path))} ${why}`, remedy);
