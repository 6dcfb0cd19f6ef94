/** Tiers, pass, log, negation and order, as Calico has them; shadow mode. */
import { describe, it } from "vitest";
import { expectVerdicts } from "./table.js";

describe("as Calico", () => {
  it("tiers apply in order, and the first decision is final", () =>
    expectVerdicts(
      `
      tiers: [{ name: late, order: 2000 }, { name: admin, order: 10 }]
      policies:
        - { name: app, applies: [10.244.2.7], ingress: [{ action: allow }] }
        - name: guard
          tier: admin
          applies: [10.244.2.0/24]
          ingress:
            - { action: deny, from: [10.244.3.0/24] }
            - { action: allow, from: [10.244.1.9] }
            - { action: pass }
        - { name: never, tier: late, applies: [10.244.2.7], ingress: [{ action: deny }] }
      `,
      `
      10.244.3.3 10.244.2.7 tcp/80   deny   guard ingress 0
      10.244.1.9 10.244.2.7 tcp/80   allow  guard ingress 1
      10.244.1.5 10.244.2.7 tcp/80   allow  app ingress 0
      10.244.1.5 10.244.2.8 tcp/80   allow  no rule
      `,
    ));

  it("pass goes on in the next tier, over what is left of this one", () =>
    expectVerdicts(
      `
      tiers: [{ name: admin, order: 10 }]
      policies:
        - name: first
          tier: admin
          order: 1
          applies: [10.244.2.7]
          ingress: [{ action: pass, protocol: tcp }]
        - { name: second, tier: admin, order: 2, applies: [10.244.2.7], ingress: [{ action: deny }] }
        - { name: app, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp, ports: [80] }] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80   allow  app ingress 0
      10.244.1.5 10.244.2.7 tcp/81   deny   end of default ingress
      10.244.1.5 10.244.2.7 udp/80   deny   second ingress 0
      `,
    ));

  it("pass in the last tier that is about the endpoint leaves it open", () =>
    expectVerdicts(
      `
      policies: [{ name: web, applies: [10.244.2.7], ingress: [{ action: pass, protocol: tcp }] }]
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80   allow  no rule
      10.244.1.5 10.244.2.7 udp/80   deny   end of default ingress
      `,
    ));

  it("a tier that is about the endpoint and matched nothing denies; one that is not does nothing", () =>
    expectVerdicts(
      `
      tiers: [{ name: admin, order: 10 }]
      policies:
        - { name: guard, tier: admin, applies: [10.244.2.7], ingress: [{ action: pass, from: [10.244.1.0/24] }] }
        - { name: app, applies: [10.244.2.0/24], ingress: [{ action: allow, protocol: tcp }] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80   allow  app ingress 0
      10.244.3.3 10.244.2.7 tcp/80   deny   end of admin ingress
      10.244.3.3 10.244.2.8 tcp/80   allow  app ingress 0
      10.244.3.3 10.244.2.8 udp/80   deny   end of default ingress
      `,
    ));

  it("log goes on behind itself", () =>
    expectVerdicts(
      `
      policies:
        - name: web
          applies: [10.244.2.7]
          ingress: [{ action: log }, { action: log, protocol: tcp }, { action: allow, protocol: tcp }]
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80   allow  web ingress 2
      10.244.1.5 10.244.2.7 udp/80   deny   end of default ingress
      `,
    ));

  it("policies of a tier apply in order, then by name; tiers too", () =>
    expectVerdicts(
      `
      tiers: [{ name: zoo, order: 10 }, { name: ant, order: 10 }]
      policies:
        - { name: c, order: 5, applies: [10.244.2.7], ingress: [{ action: deny, protocol: tcp, ports: [1] }] }
        - { name: b, order: 5, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp, ports: [1, 2] }] }
        - { name: a, order: 6, applies: [10.244.2.7], ingress: [{ action: deny }] }
        - { name: x, tier: zoo, applies: [10.244.2.9], ingress: [{ action: deny }] }
        - { name: y, tier: ant, applies: [10.244.2.9], ingress: [{ action: allow }] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/1   allow  b ingress 0
      10.244.1.5 10.244.2.7 tcp/2   allow  b ingress 0
      10.244.1.5 10.244.2.7 tcp/3   deny   a ingress 0
      10.244.1.5 10.244.2.9 tcp/3   allow  y ingress 0
      `,
    ));

  it("what a rule says and what it excludes must all fit", () =>
    expectVerdicts(
      `
      policies:
        - name: web
          applies: [10.244.2.7]
          ingress:
            - action: allow
              protocol: tcp
              from: [10.244.1.0/24]
              notFrom: [10.244.1.9]
              ports: [8000-8100]
              notPorts: [8050, 8090-8099]
              notSourcePorts: [0-1023]
            - { action: allow, notProtocol: tcp, notFrom: [10.244.0.0/16] }
            - { action: allow, protocol: icmp, notIcmp: { type: 8 } }
            - { action: allow, protocol: icmp, icmp: { type: 8 }, notIcmp: { type: 8, code: 1 } }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/8000     allow  web ingress 0
      10.244.1.5 10.244.2.7 tcp/8050     deny   end of default ingress
      10.244.1.5 10.244.2.7 tcp/8090     deny   end of default ingress
      10.244.1.5 10.244.2.7 tcp/8100     allow  web ingress 0
      10.244.1.9 10.244.2.7 tcp/8000     deny   end of default ingress
      10.244.3.3 10.244.2.7 tcp/8000     deny   end of default ingress
      192.0.2.1  10.244.2.7 udp/1        allow  web ingress 1
      192.0.2.1  10.244.2.7 tcp/8000     deny   end of default ingress
      10.244.1.5 10.244.2.7 icmp/3.1     allow  web ingress 2
      10.244.1.5 10.244.2.7 icmp/8.0     allow  web ingress 3
      10.244.1.5 10.244.2.7 icmp/8.1     deny   end of default ingress
      `,
    ));

  it("a node stands for its leases, and an unknown node for none", () =>
    expectVerdicts(
      `
      groups: { clients: ["node:h1", "10.244.3.3", "node:nobody"] }
      policies:
        - name: web
          applies: ["node:h2"]
          ingress:
            - { action: deny, from: ["node:nobody"] }
            - { action: allow, from: ["group:clients"] }
      `,
      `
      10.244.1.5     10.244.2.7     tcp/80   allow  web ingress 1
      fd00:244:1::5  fd00:244:2::7  tcp/80   allow  web ingress 1
      10.244.3.3     10.244.2.7     tcp/80   allow  web ingress 1
      10.244.3.4     10.244.2.7     tcp/80   deny   end of default ingress
      `,
    ));

  it("shadow mode changes no verdict", () =>
    expectVerdicts(
      `
      policies:
        - { name: a, order: 1, mode: shadow, applies: [10.244.2.0/24], ingress: [{ action: deny }] }
        - { name: b, order: 2, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp }] }
        - { name: c, order: 3, mode: shadow, applies: [10.244.3.3], ingress: [] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80   allow  b ingress 0
      10.244.1.5 10.244.2.7 udp/80   deny   end of default ingress
      10.244.1.5 10.244.2.8 udp/80   allow  no rule
      10.244.1.5 10.244.3.3 tcp/80   allow  no rule
      `,
    ));
});
