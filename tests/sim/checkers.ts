// All checkers of a run. Order matters only for which of them speaks first.
import type { Checker } from "./contract.ts";
import { RaftChecker } from "./check_raft.ts";
import { StateChecker } from "./check_state.ts";

export function allCheckers(): Checker[] {
  return [new RaftChecker(), new StateChecker()];
}
