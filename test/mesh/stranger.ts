/** A peer with the secret and an identity that sends any messages. */

import { PART_BYTES, type Seal } from "../../src/documents/sealed-document.js";
import type { Identity } from "../../src/identity/identity.js";
import { PROTOCOL_VERSION } from "../../src/session/messages.js";
import type { Connection } from "../../src/session/transport.js";
import { identity } from "./cluster.js";
import type { World } from "./world.js";

export class Stranger {
  /** The messages that it received. */
  readonly heard: string[] = [];
  readonly identity: Identity;
  isClosed = true;
  #connection!: Connection;

  /** The `n`-th stranger has the address 192.0.2.`n`. */
  constructor(
    readonly world: World,
    readonly n = 66,
  ) {
    this.identity = identity(n, world.signatures);
  }

  /** Opens a session with 192.0.2.1, and waits for so many milliseconds. */
  connect({ wait = 100 } = {}): void {
    this.world.network.host(`192.0.2.${this.n}`).dial("192.0.2.1:6783", (result) => {
      this.#connection = result as Connection;
      this.isClosed = false;
      this.#connection.open({
        message: (text) => void this.heard.push(text),
        closed: () => {
          this.isClosed = true;
        },
      });
      const { publicKey } = this.identity;
      const instance = "66".repeat(16);
      const binding = Buffer.from(this.#connection.channelBinding).toString("hex");
      const hello = `weft hello ${PROTOCOL_VERSION}\ndialer\n${publicKey}\n${instance}\n${binding}`;
      const signature = this.identity.sign(hello);
      this.say({ type: "hello", protocol: PROTOCOL_VERSION, key: publicKey, instance, signature });
    });
    this.world.clock.run(wait);
    this.heard.splice(0);
  }

  say(message: object): void {
    this.sayText(JSON.stringify(message));
  }

  sayText(text: string): void {
    this.#connection.send(text);
  }

  /** Sends the parts of a document's text, as they are requested. */
  giveAll({ kind, digest, size }: Seal, text: string): void {
    const bytes = Buffer.from(text);
    for (let part = 0; part * PART_BYTES < size; part++) {
      const slice = bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
      this.say({
        type: "document-part",
        kind,
        digest,
        part,
        bytes: slice.toString("base64"),
      });
      this.world.clock.run(100);
    }
  }

  /** The number of matches of a pattern in the messages that it received. */
  count(pattern: RegExp): number {
    return this.heard.reduce((sum, text) => sum + (text.match(pattern)?.length ?? 0), 0);
  }
}
