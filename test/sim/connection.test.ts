/** Simulated connections behave like TLS over TCP: ordered, reliable, and slow when segments are lost. */
import { describe, expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import type { Connection } from "../../src/session/transport.js";
import { type Machine, SimNetwork } from "../../src/sim/network.js";
import { Process } from "../../src/sim/process.js";
import { Random } from "../../src/sim/random.js";
import { Schedule } from "../../src/sim/schedule.js";
import { SimTransport } from "../../src/sim/transport.js";
import { seed } from "../mesh/seed.js";

const NO_SKEW = { rate: 1, offset: 0 };

class Underlay {
  readonly schedule = new Schedule();
  readonly random = new Random(seed);
  readonly network: SimNetwork;

  constructor(loss: number, duplicates = 0) {
    const nobody = { datagram: () => {}, sent: () => {}, delivered: () => {} };
    this.network = new SimNetwork(this.schedule, this.random, { loss, duplicates }, nobody);
  }

  host(): { machine: Machine; transport: SimTransport; process: Process } {
    const machine = this.network.machine();
    const process = new Process(this.schedule, this.random.fork(), NO_SKEW, () => {});
    return { machine, process, transport: new SimTransport(this.network, machine, process) };
  }

  /** Two hosts, and the messages that the second receives from the first. */
  async connected() {
    const [a, b] = [this.host(), this.host()];
    const received: string[] = [];
    const ends: string[] = [];
    await b.transport.listen({ address: b.machine.address, port: 1 }, (connection) =>
      connection.open({
        message: (text) => void received.push(text),
        closed: () => void ends.push("b"),
      }),
    );
    const near = await this.dial(a.transport, `${b.machine.address}:1`);
    if (near instanceof WeftError) throw near;
    near.open({ message: () => {}, closed: () => void ends.push("a") });
    return { a, b, near, received, ends };
  }

  async dial(from: SimTransport, address: string): Promise<Connection | WeftError> {
    let answer: Connection | WeftError | undefined;
    // A handshake over a lossy underlay may fail; then it is dialled again, as the mesh does.
    for (let i = 0; i < 50 && (!answer || answer instanceof WeftError); i++) {
      from.dial(address, (result) => {
        answer = result;
      });
      await this.schedule.run(this.schedule.now + 6_000);
    }
    return answer!;
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

describe("a connection", () => {
  it.each([0, 0.05, 0.3])("carries everything once and in order where %d is lost", async (loss) => {
    const underlay = new Underlay(loss);
    const { near, received, ends } = await underlay.connected();
    for (const text of numbers(200)) near.send(text);
    near.close();
    await underlay.schedule.run(underlay.schedule.now + 3_600_000);
    expect(received).toEqual(numbers(200));
    expect(ends).toEqual(["a", "b"]);
  });

  it("holds back messages during a cut, and delivers them after it", async () => {
    const underlay = new Underlay(0);
    const { near, received, ends } = await underlay.connected();
    const heal = underlay.network.cut(() => true);
    near.send("late");
    await underlay.schedule.run(underlay.schedule.now + 10_000);
    expect(received).toEqual([]);
    heal();
    await underlay.schedule.run(underlay.schedule.now + 30_000);
    expect([received, ends]).toEqual([["late"], []]);
  });

  it("sends messages that waited behind a lost segment together, as a stream of bytes does", async () => {
    const underlay = new Underlay(0);
    const { near, received } = await underlay.connected();
    const heal = underlay.network.cut(() => true);
    for (const text of numbers(21)) near.send(text);
    await underlay.schedule.run(underlay.schedule.now + 1_000);
    underlay.network.loss = 0.5;
    heal();
    while (received.length < 2) await underlay.schedule.run(underlay.schedule.now + 1);
    expect(received).toEqual(numbers(21));
  });

  it("breaks when it has tried for a quarter of an hour", async () => {
    const underlay = new Underlay(0);
    const { near, ends } = await underlay.connected();
    underlay.network.cut(() => true);
    near.send("never");
    await underlay.schedule.run(underlay.schedule.now + 600_000);
    expect(ends).toEqual([]);
    await underlay.schedule.run(underlay.schedule.now + 900_000);
    expect(ends).toEqual(["a"]);
  });

  it("is closed when the far process is killed, and not when its machine loses power", async () => {
    const underlay = new Underlay(0);
    const first = await underlay.connected();
    first.b.transport.killed();
    const second = await underlay.connected();
    second.b.transport.vanished();
    second.b.machine.isOn = false;
    await underlay.schedule.run(underlay.schedule.now + 60_000);
    expect([first.ends, second.ends]).toEqual([["a"], []]);
    second.b.machine.isOn = true;
    second.near.send("are you there?");
    await underlay.schedule.run(underlay.schedule.now + 1_000);
    expect(second.ends).toEqual(["a"]);
  });

  it("brings a message twice only when asked to", async () => {
    const underlay = new Underlay(0, 0.5);
    const { near, received } = await underlay.connected();
    for (const text of numbers(200)) near.send(text);
    await underlay.schedule.run(underlay.schedule.now + 1_000);
    expect(received.length).toBeGreaterThan(230);
    expect([...new Set(received)]).toEqual(numbers(200));
  });
});

describe("a dial", () => {
  it("is refused at once where nothing listens, and given up where nothing answers", async () => {
    const underlay = new Underlay(0);
    const [a, b] = [underlay.host(), underlay.host()];
    const said: [number, string][] = [];
    const note = (result: Connection | WeftError) =>
      void said.push([Math.round(underlay.schedule.now / 1000), (result as WeftError).message]);
    a.transport.dial(`${b.machine.address}:1`, note);
    await underlay.schedule.run(1_000);
    underlay.network.cut((from) => from === b.machine); // one way
    a.transport.dial(`${b.machine.address}:1`, note);
    await underlay.schedule.run(20_000);
    expect(said).toEqual([
      [0, "nothing listens there"],
      [6, "it does not answer"],
    ]);
  });
});
