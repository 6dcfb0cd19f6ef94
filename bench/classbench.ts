/**
 * Sets of filters of the ClassBench kind (Taylor and Turner, INFOCOM 2005), read from its files or made
 * here, with headers drawn from them, and the linear matcher that every faster one must agree with.
 */
import { readFileSync } from "node:fs";
import { parsePrefix } from "../src/address.js";
import type { AclEntry, PortRange } from "../src/compile/acl-rule.js";

export interface Filter {
  /** Source and destination, as numbers. */
  readonly src: Block;
  readonly dst: Block;
  readonly sourcePorts: PortRange;
  readonly destinationPorts: PortRange;
  /** Any if undefined. */
  readonly protocol?: number;
}

interface Block {
  readonly base: number;
  readonly length: number;
}

export interface FilterHeader {
  readonly src: number;
  readonly dst: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const LINE =
  /^@([\d./]+)\s+([\d./]+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+0x([0-9a-f]{2})\/0x([0-9a-f]{2})/i;

/** Reads filters from a file; the TCP flags of some are ignored. */
export function readFilters(file: string): Filter[] {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line, i) => {
    const parts = LINE.exec(line);
    if (!parts) throw new Error(`${file}:${i + 1}: this is no filter: ${line}`);
    const [src, dst, ...numbers] = parts.slice(1) as [string, string, ...string[]];
    const [a, b, c, d] = numbers.slice(0, 4).map(Number) as [number, number, number, number];
    const [protocol, mask] = numbers.slice(4).map((text) => Number.parseInt(text, 16));
    return {
      src: blockOf(src),
      dst: blockOf(dst),
      sourcePorts: { from: a, to: b },
      destinationPorts: { from: c, to: d },
      ...(mask === 0 ? {} : { protocol: protocol! }),
    };
  });
}

function blockOf(text: string): Block {
  const [address, length] = text.split("/") as [string, string];
  const value = address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
  return { base: masked(value, Number(length)), length: Number(length) };
}

/** Makes filters with few networks, many hosts and services in them, and a few wide ones. */
export function makeFilters(count: number, random: () => number): Filter[] {
  const below = (n: number) => Math.floor(random() * n);
  const networks = Array.from({ length: 200 }, () => below(2 ** 32));
  const block = (): Block => {
    const length = below(40) === 0 ? 0 : [32, 32, 28, 24, 16][below(5)]!;
    const base = masked((networks[below(networks.length)]! & ~0xff) + 7 * below(12), length);
    return { base, length };
  };
  const services = Array.from({ length: 60 }, (_, i): PortRange => {
    const from = below(i < 40 ? 1024 : 60_000);
    return { from, to: i < 40 ? from : from + below(5000) };
  });
  const ports = (): PortRange => {
    const kind = below(4);
    if (kind === 0) return { from: 0, to: 65_535 };
    if (kind === 1) return { from: 1024, to: 65_535 };
    return services[below(services.length)]!;
  };
  return Array.from({ length: count }, () => ({
    src: block(),
    dst: block(),
    sourcePorts: below(4) === 0 ? ports() : { from: 0, to: 65_535 },
    destinationPorts: ports(),
    ...(below(10) === 0 ? {} : { protocol: [6, 17, 6, 1][below(4)]! }),
  }));
}

/** The filters as egress rules, numbered from 1, that allow. */
export function entriesOf(filters: readonly Filter[]): AclEntry[] {
  const ports = (range: PortRange) => (range.from === 0 && range.to === 65_535 ? [] : [range]);
  const addresses = ({ base, length }: Block) => ({
    in: length === 0 ? [] : [parsePrefix(`${dotted(base)}/${length}`)],
    not: [],
  });
  return filters.map(({ src, dst, sourcePorts, destinationPorts, protocol }, i) => ({
    rule: {
      number: i + 1,
      near: addresses(src),
      far: addresses(dst),
      protocols: protocol === undefined ? [] : [protocol],
      sourcePorts: ports(sourcePorts),
      destinationPorts: ports(destinationPorts),
      action: "allow",
    },
    next: i + 1,
  }));
}

/** A header that matches some filter. */
export function headerFrom(filters: readonly Filter[], random: () => number): FilterHeader {
  const within = ({ from, to }: PortRange) => from + Math.floor(random() * (to - from + 1));
  const inside = ({ base, length }: Block) => base + Math.floor(random() * 2 ** (32 - length));
  const { src, dst, sourcePorts, destinationPorts, protocol } =
    filters[Math.floor(random() * filters.length)]!;
  return {
    src: inside(src),
    dst: inside(dst),
    protocol: protocol ?? Math.floor(random() * 256),
    sourcePort: within(sourcePorts),
    destinationPort: within(destinationPorts),
  };
}

/** Index of the first filter that matches, or -1; it tries one after the other. */
export function findLinearly(filters: readonly Filter[], header: FilterHeader): number {
  return filters.findIndex(
    ({ src, dst, sourcePorts, destinationPorts, protocol }) =>
      masked(header.src, src.length) === src.base &&
      masked(header.dst, dst.length) === dst.base &&
      (protocol === undefined || protocol === header.protocol) &&
      sourcePorts.from <= header.sourcePort &&
      header.sourcePort <= sourcePorts.to &&
      destinationPorts.from <= header.destinationPort &&
      header.destinationPort <= destinationPorts.to,
  );
}

const masked = (value: number, length: number): number =>
  length === 0 ? 0 : (value & (-1 << (32 - length))) >>> 0;

const dotted = (value: number): string =>
  [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
