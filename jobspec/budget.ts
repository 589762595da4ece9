// How much work one file may cause: steps of evaluation, text and list items produced. A hostile file (nested loops, strings
// doubled forty times) is refused with a message long before memory or patience ends.
// Invariant: every loop of the evaluator and every function that can multiply its input asks here first.

const STEPS_MAX = 600_000;
/** UTF-16 units of all strings produced while one file is evaluated. */
const TEXT_MAX = 24 * 1024 * 1024;
const ITEMS_MAX = 300_000;

export class BudgetError extends Error {
  override readonly name = "BudgetError";
}

export class Budget {
  #steps = 0;
  #text = 0;
  #items = 0;

  step(): void {
    this.steps(1);
  }

  /** Work that is worth that many steps. */
  steps(count: number): void {
    this.#steps += count;
    if (this.#steps > STEPS_MAX) {
      throw new BudgetError(`Evaluating the file takes more than ${STEPS_MAX} steps.`);
    }
  }

  /** Before a text of that many units is made. */
  text(units: number): void {
    this.#text += units;
    if (this.#text > TEXT_MAX) {
      throw new BudgetError(`The expressions of the file produce more than ${TEXT_MAX >> 20} MiB of text.`);
    }
  }

  /** Before that many list items or map entries are made. */
  items(count: number): void {
    this.#items += count;
    if (this.#items > ITEMS_MAX) {
      throw new BudgetError(`The expressions of the file produce more than ${ITEMS_MAX} list items.`);
    }
  }
}
