// Many things to do after some time, on one timer: what is due in the same slice of time runs together. Runs a little
// late, by at most a slice; never early.
export class Ticks {
  #due = new Map<number, (() => void)[]>();
  #timer = false;

  constructor(private readonly sliceMs: number) {}

  after(delayMs: number, run: () => void): void {
    const slice = Math.ceil((performance.now() + delayMs) / this.sliceMs);
    const list = this.#due.get(slice);
    if (list) list.push(run);
    else this.#due.set(slice, [run]);
    this.#arm();
  }

  #arm(): void {
    if (this.#timer || this.#due.size === 0) return;
    this.#timer = true;
    setTimeout(() => {
      this.#timer = false;
      const now = Math.floor(performance.now() / this.sliceMs);
      for (const [slice, list] of [...this.#due]) {
        if (slice > now) continue;
        this.#due.delete(slice);
        for (const run of list) run();
      }
      this.#arm();
    }, this.sliceMs);
  }
}
