// A tiny state machine for the tests of this room: a map from key to number, written by one ordinary command.
import type { Command } from "../../server/commands.ts";
import type { ApplyResult, StateMachine } from "../../server/log.ts";

export function put(key: string, value: number): Command {
  return { kind: "job.periodicLaunch", time: 0, namespace: "default", id: key, launchMs: value };
}

export class MapMachine implements StateMachine {
  index = 0;
  values = new Map<string, number>();
  /** Every command as it came, to see that the proposed object itself arrives. */
  seen: Command[] = [];
  /** Index → command as text: what checkers compare between servers. */
  history = new Map<number, string>();
  restores = 0;

  apply(index: number, command: Command): ApplyResult {
    if (index !== this.index + 1) throw new Error(`applied ${index} after ${this.index}`);
    this.index = index;
    this.seen.push(command);
    this.history.set(index, JSON.stringify(command));
    if (command.kind !== "job.periodicLaunch") return {};
    if (command.launchMs < 0) {
      return { refused: { status: 409, message: `${command.id} must not be negative` } };
    }
    this.values = new Map(this.values).set(command.id, command.launchMs);
    return { value: this.values.size };
  }

  *snapshot(): Iterable<string> {
    const values = this.values;
    for (const pair of values) yield JSON.stringify(pair);
  }

  restore(index: number, chunks: Iterable<string>): void {
    this.values = new Map([...chunks].map((c) => JSON.parse(c) as [string, number]));
    this.index = index;
    this.restores++;
  }
}
