#!/usr/bin/env -S -u NODE_OPTIONS node
/**
 * The `weft` command. By default Node opens its debugger at SIGUSR1, so that signal has a listener
 * before anything else is loaded; and with NODE_OPTIONS before its first line, so the line above
 * takes that out of the environment.
 */
process.on("SIGUSR1", () => {});

await import("./verbs.js");

export {};
