// Work in pieces, so that no turn of the event loop is long: requests and heartbeats come through between two turns. All
// tasks of one Turns share a budget of time a turn; what does not fit goes on in the next, in the order in which it waits.
//
// Invariants: a task is stepped until it says that nothing is left; a task that waits is served before those that came
// later; pieces run one at a time, never inside each other.
import type { Clock } from "../core/env.ts";

export interface TurnTask {
  /** There is something to do: begins at once if this turn has time left. */
  wake(): void;
}

export class Turns {
  #spentMs = 0;
  #isArmed = false;
  #isRunning = false;
  #waiting = new Set<Task>();

  constructor(private readonly clock: Clock, private readonly budgetMs: number) {}

  /** `step` does one small piece and returns whether there may be more. */
  task(step: () => boolean): TurnTask {
    return new Task(step, (task) => this.#wake(task));
  }

  #wake(task: Task): void {
    this.#waiting.add(task);
    this.#run();
  }

  #run(): void {
    if (this.#isRunning || this.#spentMs >= this.budgetMs) return;
    this.#isRunning = true;
    const began = this.clock.monotonicMs();
    const before = this.#spentMs;
    try {
      for (const task of this.#waiting) {
        let more = true;
        while (more && this.#spentMs < this.budgetMs) {
          more = task.step();
          this.#spentMs = before + this.clock.monotonicMs() - began;
        }
        // One that has not come to its end keeps its place, but lets the others have the next turn first.
        this.#waiting.delete(task);
        if (more) this.#waiting.add(task);
        if (this.#spentMs >= this.budgetMs) break;
      }
    } finally {
      this.#isRunning = false;
      this.#arm();
    }
  }

  /** The next turn begins with a new budget. */
  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.clock.after(0, () => {
      this.#isArmed = false;
      this.#spentMs = 0;
      if (this.#waiting.size > 0) this.#run();
    });
  }
}

class Task implements TurnTask {
  constructor(readonly step: () => boolean, private readonly onWake: (task: Task) => void) {}

  wake(): void {
    this.onWake(this);
  }
}
