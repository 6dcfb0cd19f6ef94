/**
 * Writes the golden files anew: `npm run golden`. Look at what changed in
 * Wireshark before you commit it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { CASES, US } from "./cases.js";
import { ETHERNET, onTheWire, RAW_IP, writePcap } from "./pcap.js";
import { run } from "./run.js";

for (const [name, one] of Object.entries(CASES)) {
  const folder = new URL(`${name}/`, import.meta.url);
  mkdirSync(folder, { recursive: true });
  const write = (file: string, bytes: Buffer | string) =>
    writeFileSync(new URL(file, folder), bytes);
  const { given, wire, device, counters } = await run(one);
  const arriving = given.wire.map(({ from, data, tos }) => onTheWire(from, US.underlay, data, tos));
  write("device-in.pcap", writePcap(RAW_IP, given.device));
  write("wire-in.pcap", writePcap(ETHERNET, arriving));
  write("device-out.pcap", writePcap(RAW_IP, device));
  write("wire-out.pcap", writePcap(ETHERNET, wire));
  write("counters.json", `${JSON.stringify(counters, null, 2)}\n`);
}
