import type { Logger } from "../core/logger.ts";
import { type LocalState, MemoryState } from "./local_state.ts";
export function openSqliteState(_dir: string, _logger: Logger): Promise<LocalState> {
  return Promise.resolve(new MemoryState());
}
