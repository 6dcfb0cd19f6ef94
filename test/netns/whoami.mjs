/**
 * Tells a client which address it has.
 *   serve tcp|udp PORT NAME [LOCAL]   answers each with "NAME sees ADDRESS PORT"
 *   ask tcp|udp ADDRESS PORT          prints the answer
 */
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const [verb, protocol, ...rest] = process.argv.slice(2);
const family = (address) => (address.includes(":") ? "udp6" : "udp4");

if (verb === "serve") {
  const [port, name, local = "::"] = rest;
  const answer = ({ address, port }) => `${name} sees ${address.replace("::ffff:", "")} ${port}`;
  if (protocol === "tcp") {
    createServer((socket) => {
      socket.on("error", () => {});
      socket.end(answer({ address: socket.remoteAddress, port: socket.remotePort }));
    }).listen({ port: Number(port), host: local }, () => console.log("ready"));
  } else {
    const socket = createSocket({ type: family(local) });
    socket.on("message", (_, from) => socket.send(answer(from), from.port, from.address));
    socket.bind(Number(port), local, () => console.log("ready"));
  }
} else {
  const [address, port] = rest;
  setTimeout(() => process.exit(1), 3_000);
  if (protocol === "tcp") {
    const socket = connect({ host: address, port: Number(port) });
    socket.on("data", (data) => console.log(String(data)));
    socket.on("end", () => process.exit(0));
    socket.on("error", ({ code }) => {
      console.log(code);
      process.exit(1);
    });
  } else {
    const socket = createSocket(family(address));
    socket.on("message", (data) => {
      console.log(String(data));
      process.exit(0);
    });
    socket.send("?", Number(port), address);
  }
}
