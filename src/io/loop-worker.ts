/** The worker thread that the loop runs in. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Core } from "../core/instance.js";
import { type Command, Loop, type LoopOptions, type LoopParts } from "./loop.js";

/** What the main thread hands over: the core's code and memory, descriptors and options. */
export interface LoopWorkerData extends LoopOptions, Pick<LoopParts, "tun" | "udp" | "wake"> {
  readonly module: Core["module"];
  readonly memory: Core["memory"];
  readonly notified: Int32Array;
}

const { module, memory, busyPoll, ...parts }: LoopWorkerData = workerData;
const port = parentPort!;

const loop = new Loop(
  {
    ...parts,
    core: Core.share(module, memory),
    nextCommand: (): Command | undefined => receiveMessageOnPort(port)?.message,
    post: (report) => port.postMessage(report),
  },
  { busyPoll },
);
loop.run();
