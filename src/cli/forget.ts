/** `weft forget NAME`: takes back the subnets of a node that is gone for good. */
import { Command, Option } from "commander";
import { forget as tellAgent } from "../http/client.js";
import { socketOption } from "./shared.js";

const HELP = `
The subnets of NAME can then be granted to other nodes. Run it on the node that granted
them to NAME; any other node prints the name of that node.

A node without contact to others stops using its subnets after a day. So the command is
refused until somewhat more than a day after the last contact with NAME. A node that has
contact to others keeps its subnets, so the command is also refused while other nodes are
silent too, or if NAME owns space that it may have granted to a node unknown here.

--force skips these checks. That is unsafe if NAME still runs somewhere, or is started
again from its state directory: two nodes may then use one subnet. Check both sides of a
broken network first.

Examples:
  weft forget h5
  weft forget h5 --force                the machine h5 is destroyed
  weft forget 5f0c..8e --force          by its whole id, where two are called h5
`;

export const forget = (): Command =>
  new Command("forget")
    .argument("<NAME>", "the node that is gone for good; or its id")
    .description("take back the subnets of a node that is gone for good")
    .addOption(new Option("--force", "do not check that the node has stopped"))
    .addOption(socketOption())
    .addHelpText("after", HELP)
    .action(
      async (name: string, { force = false, socket }: { force?: boolean; socket: string }) => {
        const subnets = await tellAgent(socket, name, force);
        process.stdout.write(`${subnets.join("\n")}\n`);
      },
    );
