/** The differences between two documents. */
import { expect, it } from "vitest";
import { natDiff } from "../../src/nat/diff.js";
import { NO_NAT, readNat } from "../../src/nat/document.js";
import { WHOLE } from "./documents.js";

const whole = readNat(WHOLE, "n");

it("a document does not differ from itself, wherever its lines are", () => {
  expect(natDiff(whole, readNat(`\n\n${WHOLE}`, "n"))).toEqual([]);
});

it("every entry is new where there was no document, and gone where there is none", () => {
  const added = natDiff(NO_NAT, whole);
  const removed = natDiff(whole, NO_NAT);
  expect(added.map(({ entry }) => entry)).toEqual([
    "limits perSource",
    "profile",
    "service web",
    "service web backend 10.244.1.5:8080",
    "service web backend 10.244.2.5:8080",
    "service web backend 10.244.3.5:8080",
    "service dns",
    "service dns backend 10.244.1.5:53",
    "service six",
    "service six backend [fd00:244:1::5]:80",
    "port 10.244.1.1:8080/tcp",
    "port node:h2:8081/tcp",
    "port host:8082/tcp",
    "port host:h2:8083/tcp",
    "masquerade 0",
    "masquerade outside",
    "snat 0",
    "snat 1",
    "netmap 0",
    "netmap 1",
    "egress 0",
  ]);
  expect(removed.map(({ entry }) => entry)).toEqual(added.map(({ entry }) => entry));
  expect(removed.every(({ before }) => before !== undefined)).toBe(true);
});

it.each([
  ["weight: 2", "weight: 3", "service web backend 10.244.2.5:8080", "weight 2", "weight 3"],
  [
    "drain: true",
    "drain: false",
    "service web backend 10.244.3.5:8080",
    "weight 1, drained",
    "weight 1",
  ],
  ["192.0.2.250", "192.0.2.251", "egress 0", /address 192\.0\.2\.250$/, /address 192\.0\.2\.251$/],
  ["20000-29999", "20000-29998", "snat 0", /ports 20000-29999$/, /ports 20000-29998$/],
  [
    '10.244.1.20:80 }\n  - { protocol: tcp, address: "node',
    '10.244.1.20:81 }\n  - { protocol: tcp, address: "node',
    "port 10.244.1.1:8080/tcp",
    "to 10.244.1.20:80",
    "to 10.244.1.20:81",
  ],
])("%s -> %s", (old, now, entry, before, after) => {
  const changed = readNat(WHOLE.replace(old, now), "n");
  expect(natDiff(whole, changed)).toEqual([
    {
      entry,
      before: typeof before === "string" ? before : expect.stringMatching(before),
      after: typeof after === "string" ? after : expect.stringMatching(after),
    },
  ]);
});

it("a service that moves and has another check", () => {
  const text = WHOLE.replace(
    "port: 80\n    backends:\n      - 10",
    "port: 81\n    backends:\n      - 10",
  ).replace("{ http: /health, interval: 5s, timeout: 2s }", "{ tcp: true }");
  expect(natDiff(whole, readNat(text, "n"))).toEqual([
    {
      entry: "service web",
      before: "10.96.0.10:80/tcp, affinity client 1800s, check http /health every 5s within 2s",
      after: "10.96.0.10:81/tcp, affinity client 1800s, check tcp every 5s within 2s",
    },
  ]);
});
