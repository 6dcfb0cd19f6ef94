// Opens a lab with one host and something running there, says so, and waits.
import { Lab } from "../../dist/lab/lab.js";

const lab = await Lab.open();
const host = await lab.host("a");
const running = host.spawn(["sleep", "60"]);
console.log(JSON.stringify({ namespace: host.namespace, folder: lab.folder, pid: running.pid }));
