/** Every protocol that nodes of this version speak. A new one is added here, and where its part is made. */

import { documentSpec } from "../document-sync/messages.js";
import { remoteTraceSpec } from "../explain-sync/messages.js";
import { failureDetectorSpec } from "../failure-detector/messages.js";
import { gossipSpec } from "../gossip/messages.js";
import { leaseSpec } from "../leasing/messages.js";
import { pathSpec } from "../paths/messages.js";
import { sessionSpec } from "../session/messages.js";
import { introductionSpec } from "./introduction.js";

export const PROTOCOLS = [
  sessionSpec,
  introductionSpec,
  gossipSpec,
  failureDetectorSpec,
  documentSpec,
  pathSpec,
  remoteTraceSpec,
  leaseSpec,
] as const;
