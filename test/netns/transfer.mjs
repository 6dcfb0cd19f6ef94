// One TCP stream of seeded bytes, and the SHA-256 each end saw of it.
//
//     node transfer.mjs receive ADDRESS           prints "listening", then the hash
//     node transfer.mjs send ADDRESS BYTES SEED   prints the hash
import { createCipheriv, createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const PORT = 9000;
const CHUNK = 1 << 16;
const [role, host, bytes, seed] = process.argv.slice(2);
const hash = createHash("sha256");

if (role === "receive") {
  const server = createServer(async (socket) => {
    for await (const chunk of socket) hash.update(chunk);
    console.log(hash.digest("hex"));
    server.close();
  });
  server.listen(PORT, host, () => console.log("listening"));
} else {
  await pipeline(Readable.from(stream(Number(bytes), seed)), connect(PORT, host));
  console.log(hash.digest("hex"));
}

/** The keystream of a cipher keyed by the seed: fast, and never the same bytes twice. */
function* stream(left, seed) {
  const key = createHash("sha256").update(seed).digest().subarray(0, 16);
  const cipher = createCipheriv("aes-128-ctr", key, Buffer.alloc(16));
  for (; left > 0; left -= CHUNK) {
    const chunk = cipher.update(Buffer.alloc(Math.min(left, CHUNK)));
    hash.update(chunk);
    yield chunk;
  }
}
