import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { MAX_MESSAGE_BYTES } from "../../src/session/messages.js";
import { type MessagesOf, type Protocol, protocolSpec } from "../../src/session/protocol.js";
import { ProtocolRegistry } from "../../src/session/protocol-registry.js";
import type { Session } from "../../src/session/session.js";

const said: string[] = [];
const specOf = (name: string) =>
  protocolSpec(name, [
    z.strictObject({ type: z.literal(`${name}-say`), n: z.int().max(9) }),
    z.strictObject({ type: z.literal(`${name}-end`) }),
  ]);
const [tea, milk] = [specOf("tea"), specOf("milk")];

class Cup implements Protocol<MessagesOf<typeof tea>> {
  constructor(readonly spec: typeof tea) {}

  start = () => void said.push(`${this.spec.name} starts`);
  stop = () => void said.push(`${this.spec.name} stops`);
  opened = (session: Session) => void said.push(`${this.spec.name} meets ${nameOf(session)}`);
  closed = (session: Session) => void said.push(`${this.spec.name} leaves ${nameOf(session)}`);
  received = (session: Session, { type }: MessagesOf<typeof tea>) =>
    void said.push(`${this.spec.name} hears ${type} of ${nameOf(session)}`);
}

const nameOf = (session: Session): string => session.remote;
const [a, b] = ["a", "b"].map((remote) => ({ remote }) as Session) as [Session, Session];

let registry: ProtocolRegistry;

beforeEach(() => {
  said.splice(0);
  registry = new ProtocolRegistry([tea, milk]);
});

it("a protocol that starts meets the peers that are there", () => {
  registry.start(new Cup(tea), [a, b]);
  expect(said).toEqual(["tea starts", "tea meets a", "tea meets b"]);
});

it("protocols hear of sessions in the order of their starts, and stop in the reverse order", () => {
  for (const spec of [tea, milk]) registry.start(new Cup(spec), []);
  said.splice(0);
  registry.opened(a);
  registry.closed(a);
  registry.stop();
  registry.opened(b);
  expect(said).toEqual([
    "tea meets a",
    "milk meets a",
    "tea leaves a",
    "milk leaves a",
    "milk stops",
    "tea stops",
  ]);
});

it("a message comes to its own protocol, and to nobody where that does not run", () => {
  registry.start(new Cup(tea), []);
  said.splice(0);
  registry.received(a, { type: "tea-say", n: 1 });
  registry.received(a, { type: "milk-say", n: 1 });
  expect(said).toEqual(["tea hears tea-say of a"]);
});

describe("a message is read", () => {
  it("by the schema of its type, whether its protocol runs or not", () => {
    expect(registry.parse('{"type":"milk-say","n":9}')).toEqual({ type: "milk-say", n: 9 });
    expect(registry.parse('{"type":"milk-say","n":10}')).toBeUndefined();
    expect(registry.parse('{"type":"milk-end","n":9}')).toBeUndefined();
  });

  it.each(["", "null", "1", "[]", "{}", '{"type":1}', '{"type":"toString"}', '{"type":"beer"}'])(
    "and %s is none",
    (text) => expect(registry.parse(text)).toBeUndefined(),
  );

  it("up to a limit", () => {
    const text = '{"type":"tea-end"}';
    expect(registry.parse(text.padEnd(MAX_MESSAGE_BYTES))).toBeDefined();
    expect(registry.parse(text.padEnd(MAX_MESSAGE_BYTES + 1))).toBeUndefined();
  });
});

it("no two protocols have a message of one type", () => {
  expect(() => new ProtocolRegistry([tea, tea])).toThrow("both have a message tea-say");
});
