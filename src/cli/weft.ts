#!/usr/bin/env -S -u NODE_OPTIONS node
/**
 * The `weft` command. Node opens its debugger at SIGUSR1 by default, so the signal gets a listener
 * before any other module is loaded. With NODE_OPTIONS Node can do so before this line, so the first
 * line of this file removes that variable.
 */
process.on("SIGUSR1", () => {});

await import("./verbs.js");

export {};
