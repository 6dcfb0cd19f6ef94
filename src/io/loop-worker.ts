/** Runs the loop in a worker thread. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Core } from "../core/instance.js";
import { type Command, Loop, type LoopOptions, type LoopParts } from "./loop.js";

/** Data of the worker: the core's code and memory, descriptors and options. */
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
