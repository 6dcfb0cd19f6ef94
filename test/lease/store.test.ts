import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { sealDocument } from "../../src/documents/sealed-document.js";
import { addChecksum } from "../../src/files/checksummed.js";
import { POLICY } from "../../src/policy/kind.js";
import { decodeState, type State } from "../../src/state/store.js";
import { documentFile, FileStore, STATE_FILE } from "../../src/state/store-file.js";
import { cluster, founder, proofFor } from "../mesh/cluster.js";

const root = mkdtempSync(join(tmpdir(), `weft-store-${process.pid}-`));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
let directory: string;
let file: string;
beforeEach(() => {
  directory = join(root, `${count++}`);
  file = join(directory, STATE_FILE);
});

const fresh: State = { seed: founder.seed, remembered: ["192.0.2.1:6783"] };
const full: State = {
  ...fresh,
  cluster: {
    genesis: cluster.genesis,
    journal: [...proofFor(founder, 1)],
    spaces: [],
    leases: [[...proofFor(founder, 1)]],
    revoked: [proofFor(founder, 2)[0]!.signature],
    revokedByOperator: [proofFor(founder, 2)[0]!.signature],
    heard: 1_700_000_000_000,
    versions: { node: 7, documents: 3 },
    absentDocuments: ["policy"],
  },
};

describe("the state on disk", () => {
  it("is read as it was written, by its owner alone", () => {
    const store = new FileStore(directory);
    expect(store.load()).toBeUndefined();
    store.save(full);
    expect(store.load()).toEqual(full);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(existsSync(`${file}.new`)).toBe(false);
  });

  it("is the old one when the power goes while the new one is written, at any byte", () => {
    const store = new FileStore(directory);
    store.save(full);
    const written = readFileSync(file);
    store.save(fresh);
    for (let length = 0; length <= written.length; length++) {
      writeFileSync(`${file}.new`, written.subarray(0, length));
      expect(store.load()).toEqual(fresh);
    }
    store.save(full);
    expect(store.load()).toEqual(full);
  });

  it("cut short anywhere is an error, never a fresh start", () => {
    const store = new FileStore(directory);
    store.save(full);
    const written = readFileSync(file);
    for (let length = 0; length < written.length; length++) {
      writeFileSync(file, written.subarray(0, length));
      expect(() => store.load(), `${length} bytes`).toThrow(
        expect.objectContaining({ code: "STATE_CORRUPT" }),
      );
    }
  });

  it("with any byte changed is an error", () => {
    const store = new FileStore(directory);
    store.save(fresh);
    const written = readFileSync(file);
    for (let at = 0; at < written.length; at++) {
      const changed = Buffer.from(written);
      changed[at] = changed[at]! ^ 1;
      writeFileSync(file, changed);
      expect(() => store.load(), `byte ${at}`).toThrow(
        expect.objectContaining({ code: "STATE_CORRUPT" }),
      );
    }
  });

  it("that another version wrote is refused whole, and the version that wrote it is the remedy", () => {
    const { seed, remembered, cluster: known } = full;
    const { genesis, journal, spaces, leases, heard } = known!;
    const cluster = { genesis, journal, spaces, leases, heard, void: [], taken: [], version: 7 };
    const body = `${JSON.stringify({ seed, remembered, cluster })}\n`;
    expect(() => decodeState(addChecksum("state", body), "node.state")).toThrow(
      expect.objectContaining({
        code: "STATE_CORRUPT",
        message: "the state file node.state cannot be used: another version of weft wrote it",
        remedy: expect.stringMatching(/^run that version; or move it away and start with --join/),
      }),
    );
  });

  it("open to others is refused with the command that closes it", () => {
    const store = new FileStore(directory);
    store.save(full);
    chmodSync(file, 0o640);
    expect(() => store.load()).toThrow(
      expect.objectContaining({ code: "STATE_OPEN", remedy: `chmod 600 ${file}` }),
    );
  });

  it("that was removed is reported as missing until it is written again", () => {
    const own = join(root, "removed");
    const store = new FileStore(own);
    expect(store.isKept()).toBe(true);
    store.save(full);
    expect(store.isKept()).toBe(true);
    for (const path of [join(own, STATE_FILE), own]) {
      rmSync(path, { recursive: true });
      expect(store.isKept()).toBe(false);
      store.save(full);
      expect(store.isKept()).toBe(true);
    }
    expect(new FileStore(own).load()).toEqual(full);
  });

  it("that cannot be written is said", () => {
    writeFileSync(join(root, "in-the-way"), "");
    const store = new FileStore(join(root, "in-the-way"));
    expect(() => store.save(full)).toThrow(expect.objectContaining({ code: "STATE_WRITE" }));
  });
});

describe("the policy on disk", () => {
  const text = "policies: [] # ä";
  const seal = sealDocument(founder, cluster, {
    kind: "policy",
    proof: proofFor(founder, 1),
    version: 3,
    text,
  });

  it("is read as it was written, beside the state, by its owner alone", () => {
    const store = new FileStore(directory);
    expect(store.loadDocument(POLICY.name)).toBeUndefined();
    store.saveDocument({ seal, text });
    expect(store.loadDocument(POLICY.name)).toEqual({ seal, text });
    const refused = ["ab".repeat(64)];
    store.saveDocument({ seal, text, refused });
    expect(store.loadDocument(POLICY.name)).toEqual({ seal, text, refused });
    expect(store.load()).toBeUndefined();
    expect(statSync(join(directory, documentFile("policy"))).mode & 0o777).toBe(0o600);
  });

  it("cut short anywhere is an error, never none", () => {
    const store = new FileStore(directory);
    store.saveDocument({ seal, text });
    const path = join(directory, documentFile("policy"));
    const written = readFileSync(path);
    for (let length = 0; length < written.length; length++) {
      writeFileSync(path, written.subarray(0, length));
      expect(() => store.loadDocument(POLICY.name), `${length} bytes`).toThrow(
        expect.objectContaining({ code: "DOCUMENT_CORRUPT" }),
      );
    }
  });
});
