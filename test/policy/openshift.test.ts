/** OpenShift SDN: projects that see themselves and the global ones; egress by the first match. */
import { describe, it } from "vitest";
import { expectVerdicts } from "./table.js";

describe("as OpenShift SDN", () => {
  it("multitenant: the same network id, or one of the two is 0", () =>
    expectVerdicts(
      `
      groups:
        vnid0: [10.244.1.1, 10.244.2.1]
        vnid5: [10.244.1.5, 10.244.2.5]
        vnid6: [10.244.1.6, 10.244.2.6]
      policies:
        - { name: vnid5, applies: ["group:vnid5"], ingress: [{ action: allow, from: ["group:vnid5", "group:vnid0"] }] }
        - { name: vnid6, applies: ["group:vnid6"], ingress: [{ action: allow, from: ["group:vnid6", "group:vnid0"] }] }
      `,
      `
      10.244.1.5 10.244.2.5 tcp/80   allow  vnid5 ingress 0
      10.244.1.6 10.244.2.6 tcp/80   allow  vnid6 ingress 0
      10.244.1.5 10.244.2.6 tcp/80   deny   end of default ingress
      10.244.1.6 10.244.2.5 tcp/80   deny   end of default ingress
      10.244.1.1 10.244.2.5 tcp/80   allow  vnid5 ingress 0
      10.244.1.1 10.244.2.6 tcp/80   allow  vnid6 ingress 0
      10.244.1.5 10.244.2.1 tcp/80   allow  no rule
      10.244.1.6 10.244.2.1 tcp/80   allow  no rule
      10.244.1.1 10.244.2.1 tcp/80   allow  no rule
      `,
    ));

  it("EgressNetworkPolicy: the first match wins, and what matches nothing may go", () =>
    expectVerdicts(
      `
      policies:
        - name: project
          applies: [10.244.1.0/24]
          egress:
            - { action: allow, to: [192.0.2.0/28] }
            - { action: deny, to: [192.0.2.0/24] }
            - { action: allow, to: [192.0.2.99] }
            - { action: allow }
      `,
      `
      10.244.1.5 192.0.2.1    tcp/80   allow  project egress 0
      10.244.1.5 192.0.2.20   tcp/80   deny   project egress 1
      10.244.1.5 192.0.2.99   tcp/80   deny   project egress 1
      10.244.1.5 198.51.100.1 tcp/80   allow  project egress 3
      10.244.2.7 192.0.2.20   tcp/80   allow  no rule
      `,
    ));
});
