/** Reads a pcapng file as its specification asks, and takes nothing that is not in it. */

export interface Block {
  readonly type: number;
  readonly body: Buffer;
}

export interface ReadPacket {
  readonly time: bigint;
  readonly length: number;
  readonly bytes: Uint8Array;
  /** By code, in turn. */
  readonly options: readonly (readonly [code: number, value: Buffer])[];
}

export interface ReadFile {
  readonly application: string;
  readonly interface: {
    readonly linkType: number;
    readonly snaplen: number;
    readonly name: string;
  };
  readonly packets: readonly ReadPacket[];
  readonly statistics: { readonly received: bigint; readonly dropped: bigint };
}

export function readPcapng(file: Uint8Array): ReadFile {
  const [section, description, ...rest] = blocksOf(Buffer.from(file));
  const statistics = rest.pop();
  must(section?.type === 0x0a0d0d0a, "a file begins with a section header");
  must(section!.body.readUInt32LE(0) === 0x1a2b3c4d, "little-endian");
  must(section!.body.readUInt16LE(4) === 1 && section!.body.readUInt16LE(6) === 0, "version 1.0");
  must(section!.body.readBigInt64LE(8) === -1n, "a section of unknown length");
  must(description?.type === 1, "an interface comes next");
  const about = optionsOf(description!.body, 8);
  must(optionOf(about, 9).equals(Buffer.from([9])), "timestamps in nanoseconds");
  must(statistics?.type === 5 && statistics.body.readUInt32LE(0) === 0, "statistics at the end");
  const counted = optionsOf(statistics!.body, 12);
  return {
    application: optionOf(optionsOf(section!.body, 16), 4).toString(),
    interface: {
      linkType: description!.body.readUInt16LE(0),
      snaplen: description!.body.readUInt32LE(4),
      name: optionOf(about, 2).toString(),
    },
    packets: rest.map(packetOf),
    statistics: {
      received: optionOf(counted, 4).readBigUInt64LE(),
      dropped: optionOf(counted, 5).readBigUInt64LE(),
    },
  };
}

export function optionOf(options: ReadPacket["options"], code: number): Buffer {
  const found = options.filter(([is]) => is === code);
  must(found.length === 1, `option ${code} stands there once`);
  return found[0]![1];
}

function packetOf({ type, body }: Block): ReadPacket {
  must(type === 6, "nothing but packets between interface and statistics");
  must(body.readUInt32LE(0) === 0, "of interface 0");
  const captured = body.readUInt32LE(12);
  const length = body.readUInt32LE(16);
  must(captured <= length, "no more bytes than it has");
  const end = 20 + captured;
  const padded = (end + 3) & ~3;
  must(
    body.subarray(end, padded).every((byte) => byte === 0),
    "padded with zeros",
  );
  return {
    time: (BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8)),
    length,
    bytes: new Uint8Array(body.subarray(20, end)),
    options: optionsOf(body, padded),
  };
}

function blocksOf(file: Buffer): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at + 4);
    must(length % 4 === 0 && length >= 12 && at + length <= file.length, "a whole block");
    must(file.readUInt32LE(at + length - 4) === length, "its length again at its end");
    blocks.push({ type: file.readUInt32LE(at), body: file.subarray(at + 8, at + length - 4) });
    at += length;
  }
  return blocks;
}

function optionsOf(body: Buffer, from: number): [number, Buffer][] {
  const options: [number, Buffer][] = [];
  for (let at = from; ; ) {
    const [code, length] = [body.readUInt16LE(at), body.readUInt16LE(at + 2)];
    const end = at + 4 + length;
    if (code === 0) {
      must(length === 0 && end === body.length, "the end of the options is that of the block");
      return options;
    }
    options.push([code, body.subarray(at + 4, end)]);
    at = (end + 3) & ~3;
    must(
      body.subarray(end, at).every((byte) => byte === 0),
      "padded with zeros",
    );
  }
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not in this file: ${what}`);
}
