/** The semantics of Kubernetes NetworkPolicy, sentence by sentence: one tier, only `allow`. */
import { describe, it } from "vitest";
import { expectVerdicts } from "./table.js";

describe("as Kubernetes NetworkPolicy", () => {
  it("what no policy selects in a direction may do anything in it", () =>
    expectVerdicts(
      `
      policies:
        - name: web
          applies: [10.244.2.7]
          ingress: [{ action: allow, from: [10.244.1.5] }]
      `,
      `
      10.244.1.5 10.244.2.8 tcp/80    allow  no rule
      10.244.3.3 10.244.2.8 udp/53    allow  no rule
      10.244.2.7 10.244.3.3 tcp/443   allow  no rule
      10.244.3.3 10.244.2.7 tcp/80    deny   end of default ingress
      `,
    ));

  it("what a policy selects is allowed what any rule of any policy that selects it allows", () =>
    expectVerdicts(
      `
      policies:
        - name: a
          applies: [10.244.2.7]
          ingress:
            - { action: allow, protocol: tcp, ports: [80] }
            - { action: allow, from: [10.244.1.5] }
        - name: b
          applies: [10.244.2.0/24]
          ingress: [{ action: allow, protocol: udp, ports: [53] }]
      `,
      `
      10.244.3.3 10.244.2.7 tcp/80    allow  a ingress 0
      10.244.1.5 10.244.2.7 tcp/22    allow  a ingress 1
      10.244.3.3 10.244.2.7 udp/53    allow  b ingress 0
      10.244.3.3 10.244.2.7 tcp/22    deny   end of default ingress
      10.244.3.3 10.244.2.8 udp/53    allow  b ingress 0
      10.244.3.3 10.244.2.8 tcp/80    deny   end of default ingress
      `,
    ));

  it("the source's egress and the destination's ingress must both allow", () =>
    expectVerdicts(
      `
      policies:
        - { name: out, applies: [10.244.1.0/24], egress: [{ action: allow, to: [10.244.2.0/24] }] }
        - { name: in, applies: [10.244.2.7, 10.244.3.3], ingress: [{ action: allow, from: [10.244.1.5] }] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80    allow  out egress 0, in ingress 0
      10.244.1.6 10.244.2.7 tcp/80    deny   end of default ingress
      10.244.1.5 10.244.3.3 tcp/80    deny   end of default egress
      10.244.1.6 10.244.2.8 tcp/80    allow  out egress 0
      `,
    ));

  it("inside a rule ports and peers must both fit; of a list, one is enough", () =>
    expectVerdicts(
      `
      policies:
        - name: web
          applies: [10.244.2.7]
          ingress:
            - { action: allow, protocol: tcp, from: [10.244.1.5, 10.244.3.0/24], ports: [80, 443] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80    allow  web ingress 0
      10.244.1.5 10.244.2.7 tcp/443   allow  web ingress 0
      10.244.3.9 10.244.2.7 tcp/443   allow  web ingress 0
      10.244.1.5 10.244.2.7 tcp/22    deny   end of default ingress
      10.244.1.5 10.244.2.7 udp/80    deny   end of default ingress
      10.244.1.6 10.244.2.7 tcp/80    deny   end of default ingress
      `,
    ));

  it("policyTypes left out: ingress always, egress if it has rules", () =>
    // As written here: the key that is there is the direction that is policed.
    expectVerdicts(
      `
      policies:
        - { name: ingress-only, applies: [10.244.2.1], ingress: [] }
        - { name: both, applies: [10.244.2.2], ingress: [], egress: [{ action: allow, to: [10.244.1.5] }] }
      `,
      `
      10.244.1.5 10.244.2.1 tcp/80    deny   end of default ingress
      10.244.2.1 10.244.1.5 tcp/80    allow  no rule
      10.244.1.5 10.244.2.2 tcp/80    deny   end of default ingress
      10.244.2.2 10.244.1.5 tcp/80    allow  both egress 0
      10.244.2.2 10.244.1.6 tcp/80    deny   end of default egress
      `,
    ));

  it("a policy without rules denies all of its direction", () =>
    expectVerdicts(
      `
      policies:
        - { name: nothing-in, applies: [10.244.2.0/24, "fd00:244:2::/64"], ingress: [] }
        - { name: nothing-out, applies: [10.244.3.0/24], egress: [] }
      `,
      `
      10.244.1.5     10.244.2.7     tcp/80   deny   end of default ingress
      10.244.1.5     10.244.2.7     icmp/8   deny   end of default ingress
      10.244.1.5     10.244.2.7     47       deny   end of default ingress
      fd00:244:1::5  fd00:244:2::7  tcp/80   deny   end of default ingress
      10.244.3.3     10.244.1.5     tcp/80   deny   end of default egress
      10.244.1.5     10.244.3.3     tcp/80   allow  no rule
      `,
    ));

  it("a rule that says nothing allows all", () =>
    expectVerdicts(
      `
      policies: [{ name: all, applies: [10.244.2.7], ingress: [{ action: allow }] }]
      `,
      `
      10.244.1.5 10.244.2.7 tcp/80    allow  all ingress 0
      10.244.1.5 10.244.2.7 icmp/8    allow  all ingress 0
      10.244.1.5 10.244.2.7 132/9     allow  all ingress 0
      `,
    ));

  it("ipBlock.except is left out of its cidr", () =>
    expectVerdicts(
      `
      policies:
        - name: web
          applies: [10.244.2.7]
          ingress: [{ action: allow, from: [10.244.0.0/16], notFrom: [10.244.1.0/28, 10.244.3.0/24] }]
      `,
      `
      10.244.1.20 10.244.2.7 tcp/80   allow  web ingress 0
      10.244.1.5  10.244.2.7 tcp/80   deny   end of default ingress
      10.244.3.3  10.244.2.7 tcp/80   deny   end of default ingress
      192.0.2.1   10.244.2.7 tcp/80   deny   end of default ingress
      `,
    ));

  it("endPort is the last port that fits", () =>
    expectVerdicts(
      `
      policies:
        - { name: web, applies: [10.244.2.7], ingress: [{ action: allow, protocol: tcp, ports: [8000-8100] }] }
      `,
      `
      10.244.1.5 10.244.2.7 tcp/7999   deny   end of default ingress
      10.244.1.5 10.244.2.7 tcp/8000   allow  web ingress 0
      10.244.1.5 10.244.2.7 tcp/8100   allow  web ingress 0
      10.244.1.5 10.244.2.7 tcp/8101   deny   end of default ingress
      `,
    ));
});
