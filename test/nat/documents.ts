/** Documents of address translation that several tests read. */

/** Every section, and each way to write a key. */
export const WHOLE = `profile: rfc
limits: { perSource: 2048 }
services:
  - name: web
    protocol: tcp
    address: 10.96.0.10
    port: 80
    backends:
      - 10.244.1.5:8080
      - { to: 10.244.2.5:8080, weight: 2 }
      - { to: 10.244.3.5:8080, drain: true }
    affinity: { client: 30m }
    check: { http: /health, interval: 5s, timeout: 2s }
  - { name: dns, protocol: udp, address: 10.96.0.10, port: 53, backends: [10.244.1.5:53], affinity: none }
  - name: six
    protocol: sctp
    address: fd00:96::10
    port: 80
    backends: ["[fd00:244:1::5]:80"]
    affinity: client
ports:
  - { protocol: tcp, address: 10.244.1.1, port: 8080, to: 10.244.1.20:80 }
  - { protocol: tcp, address: "node:h2", port: 8081, to: 10.244.3.20:80 }
  - { protocol: tcp, address: "host", port: 8082, to: 10.244.1.20:80 }
  - { protocol: tcp, address: "host:h2", port: 8083, to: 10.244.1.20:80 }
masquerade:
  - { from: 192.0.2.0/24, to: 10.244.0.0/16 }
  - outside
snat:
  - { from: 10.244.1.0/24, to: 0.0.0.0/0, address: 10.244.1.250, ports: 20000-29999 }
  - { from: 10.244.2.0/24, to: 0.0.0.0/0, address: 10.244.2.240/28 }
netmap:
  - { from: 10.1.0.0/24, to: 10.244.9.0/24 }
  - { from: 10.1.0.0/24, to: 10.244.10.0/24 }
egress:
  - { from: [10.244.2.0/24], to: [0.0.0.0/0], via: [h1, h2], address: 192.0.2.250 }
`;
