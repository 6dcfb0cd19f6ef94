/** `npm run help`: the commands of package.json, each with its word from "scripts-info" there. */
import { readFileSync } from "node:fs";

const path = new URL("../package.json", import.meta.url);
const { scripts, "scripts-info": words } = JSON.parse(readFileSync(path, "utf8"));
const width = Math.max(...Object.keys(scripts).map((name) => name.length));
for (const name of Object.keys(scripts)) {
  console.log(`  npm run ${name.padEnd(width)}  ${words[name]}`);
}
