// A server whose disk lost what it acknowledged: see loss_scenarios.ts, and docs/raft.md, "A lost end of the log".
import { test } from "node:test";
import { heartbeatAfterLoss, laterTermEndsIt, votesOnlyWhenWhole } from "./loss_scenarios.ts";

test("raft: a heartbeat commits nothing that stands in the place of lost entries", heartbeatAfterLoss);
test(
  "raft: a server that lost entries votes and campaigns only when they are durable again",
  votesOnlyWhenWhole,
);
test("raft: an entry of a later term makes a server whole that lost entries", laterTermEndsIt);
