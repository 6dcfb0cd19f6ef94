/** `weft forget NAME`: takes back the subnets of a node that is gone for good. */
import { Command, Option } from "commander";
import { forget as tellAgent } from "../http/client.js";
import { socketOption } from "./shared.js";

const HELP = `
The subnets of NAME can then be given to other nodes. Run it on the node that
gave NAME its subnets; any other says which one that is.

A node that was cut off stops using its subnets after a day, by itself, so this
waits somewhat longer than a day after NAME was last heard. A node that others
hear goes on, so this is refused as well while other nodes are silent too, or
where NAME has space of its own, which it may have shared with one unknown here.

With --force none of that is asked. That is unsafe if NAME still runs somewhere,
or is started again from its state directory: two nodes may then use one subnet.
Look on both sides of a broken network before you say so.

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
