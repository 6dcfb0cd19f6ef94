/**
 * A stranger that connects to a port again and again, until SIGTERM:
 *
 *   node churn.mjs PORT FIRST COUNT HELD [TEXT]
 *
 * From each of COUNT loopback addresses, 127.0.0.FIRST and those after it, it holds HELD connections,
 * and opens a new one when one has ended. It sends TEXT on each, if given. At the end it prints how
 * many it opened.
 */
import { connect } from "node:net";

const [port, first, count, held] = process.argv.slice(2, 6).map(Number);
const text = process.argv[6];
const open = new Set();
let opened = 0;
let isOver = false;

function churn(localAddress) {
  if (isOver) return;
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  open.add(socket);
  opened++;
  socket.on("error", () => {});
  socket.on("connect", () => text && socket.write(text));
  socket.on("close", () => {
    open.delete(socket);
    setImmediate(churn, localAddress);
  });
}

for (let n = 0; n < count; n++) {
  for (let i = 0; i < held; i++) churn(`127.0.0.${first + n}`);
}
process.on("SIGTERM", () => {
  isOver = true;
  for (const socket of open) socket.destroy();
  console.log(opened);
});
