import { expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { BATCH_DELAY, BUSY_BATCH_DELAY, EAGER_LIMIT } from "../../src/gossip/broadcast-queue.js";
import type { Envelope } from "../../src/gossip/record.js";
import { nodeId } from "../../src/identity/identity.js";
import { founder } from "../mesh/cluster.js";
import { grown } from "../mesh/grown.js";
import { type MessageOf, parseMessage } from "../mesh/messages.js";
import { randomFrom, seed } from "../mesh/seed.js";
import { Stranger } from "../mesh/stranger.js";
import { MemoryDisk, World } from "../mesh/world.js";

/** A node that founded a cluster, two strangers with sessions to it, and records of the cluster. */
async function between(size: number) {
  const world = new World();
  const disk = new MemoryDisk();
  disk.save({ seed: founder.seed, remembered: [] });
  const network = [parsePrefix("10.0.0.0/8")];
  const { mesh } = await world.node(1, [], disk, { network, vtep: "192.0.9.1:4789" });
  const [one, two] = [new Stranger(world, 66), new Stranger(world, 67)];
  for (const stranger of [one, two]) stranger.connect();
  one.heard.splice(0);
  const { envelopes } = grown(size, randomFrom(seed));
  return { world, mesh, one, two, envelopes };
}

const say = (stranger: Stranger, ...records: Envelope[]) =>
  stranger.say({ type: "records", records });

const told = (stranger: Stranger): MessageOf<"records">[] =>
  stranger.heard
    .map((text) => parseMessage(text)!)
    .filter((message): message is MessageOf<"records"> => message.type === "records");

const word = (stranger: Stranger) =>
  stranger.heard
    .map((text) => parseMessage(text)!)
    .flatMap((message) => (message.type === "have" ? [message.versions] : []));

it("records that arrive within a moment are forwarded together, and not to their sender", async () => {
  const { world, mesh, one, two, envelopes } = await between(20);
  for (const envelope of envelopes) say(one, envelope);
  world.clock.run(2 * BATCH_DELAY);
  expect(mesh.members()).toHaveLength(20);
  const messages = told(two);
  expect(messages.length).toBeLessThanOrEqual(3);
  expect(messages.flatMap(({ records }) => records)).toEqual(envelopes);
  expect(told(one)).toEqual([]);
});

it("a record is not sent to a neighbour that sends or announces it meanwhile", async () => {
  const { world, one, two, envelopes } = await between(3);
  const [a, b, c] = envelopes as [Envelope, Envelope, Envelope];
  say(one, a, b, c);
  say(two, a);
  two.say({ type: "have", versions: [[nodeId(b.owner), "node", 1]] });
  world.clock.run(2 * BATCH_DELAY);
  expect(told(two).flatMap(({ records }) => records)).toEqual([c]);
});

it("of two versions within a moment the newer goes on alone", async () => {
  const { world, one, two, envelopes } = await between(1);
  const [young] = grown(1, randomFrom(seed), 2).envelopes;
  say(one, envelopes[0]!, young!);
  world.clock.run(2 * BATCH_DELAY);
  expect(told(two).flatMap(({ records }) => records)).toEqual([young]);
});

it("renewals, however many, are only announced, in messages within the limit", async () => {
  const { world, mesh, one, two, envelopes } = await between(300);
  for (const envelope of envelopes) say(one, envelope);
  world.clock.run(1_000);
  two.heard.splice(0);
  for (const envelope of grown(300, randomFrom(seed), 2).envelopes) say(one, envelope);
  world.clock.run(2 * BATCH_DELAY);
  expect(mesh.members()).toHaveLength(300);
  expect(told(two)).toEqual([]);
  const lengths = word(two).map(({ length }) => length);
  expect(lengths).toContain(256);
  expect(lengths).toContain(44);
});

it("many new records at once are only announced, later; those after that are sent whole again", async () => {
  const { burst, rate } = EAGER_LIMIT;
  const { world, one, two, envelopes } = await between(burst + 101);
  const [last, ...many] = envelopes as [Envelope, ...Envelope[]];
  for (const envelope of many) say(one, envelope);
  world.clock.run(2 * BUSY_BATCH_DELAY);
  const full = told(two).flatMap(({ records }) => records);
  expect(full).toEqual(many.slice(0, burst));
  expect(word(two).flat()).toHaveLength(100);
  world.clock.run((1000 * burst) / rate);
  two.heard.splice(0);
  say(one, last);
  world.clock.run(2 * BATCH_DELAY);
  expect(told(two).flatMap(({ records }) => records)).toEqual([last]);
});
