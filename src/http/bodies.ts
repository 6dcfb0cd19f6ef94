/** Reads bodies of requests: each up to the limit of its route, all together up to MAX_READING. */
import type { IncomingMessage } from "node:http";

/** Most bytes of all bodies that are being read: two policies of the maximum length. */
export const MAX_READING = 16 * 1024 * 1024;

/** The reason why a body is not read to its end. */
export class BodyRefused extends Error {
  constructor(
    readonly status: 413 | 503,
    message: string,
  ) {
    super(message);
  }
}

export class Bodies {
  #reading = 0;

  /** @param most bytes; 0 if the route takes no body
   * @throws BodyRefused
   */
  async read(request: IncomingMessage, most: number): Promise<string> {
    const { "content-length": length, "transfer-encoding": encoding } = request.headers;
    if (encoding === undefined && Number(length ?? 0) === 0) return "";
    if (most === 0) throw new BodyRefused(413, "this path takes no body");
    if (Number(length ?? 0) > most) throw tooLong(most);
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      // The response is sent after the loop ends, so the request must stay open.
      for await (const chunk of request.iterator({ destroyOnReturn: false })) {
        size += chunk.length;
        this.#reading += chunk.length;
        if (size > most) throw tooLong(most);
        if (this.#reading > MAX_READING) throw new BodyRefused(503, "too many bodies at one time");
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString();
    } finally {
      this.#reading -= size;
    }
  }
}

const tooLong = (most: number) => new BodyRefused(413, `the body is longer than ${most} bytes`);
