// All checkers of a run. Their order matters only for which of them speaks first.
import { AcknowledgedChecker } from "./check_acknowledged.ts";
import { HistoryChecker } from "./check_history.ts";
import { RaftChecker } from "./check_raft.ts";
import { SchedulerChecker } from "./check_scheduler.ts";
import { StateChecker } from "./check_state.ts";
import type { Checker } from "./contract.ts";

export function allCheckers(): Checker[] {
  return [
    new RaftChecker(),
    new StateChecker(),
    new SchedulerChecker(),
    new AcknowledgedChecker(),
    new HistoryChecker(),
  ];
}
