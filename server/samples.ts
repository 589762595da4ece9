// How often something happened and how much of it there was: the counters behind the API's Samples. Adds numbers and
// keeps nothing else; totals run since the server's start, so a reader takes the difference of two looks.
export interface Sample {
  /** Nomad's name of it. */
  name: string;
  count: number;
  sum: number;
  min: number;
  max: number;
  /** For the standard deviation. */
  sumOfSquares: number;
}

export class Samples {
  #byName = new Map<string, Sample>();

  add(name: string, value: number): void {
    let sample = this.#byName.get(name);
    if (!sample) {
      sample = { name, count: 0, sum: 0, min: Infinity, max: -Infinity, sumOfSquares: 0 };
      this.#byName.set(name, sample);
    }
    sample.count++;
    sample.sum += value;
    sample.sumOfSquares += value * value;
    if (value < sample.min) sample.min = value;
    if (value > sample.max) sample.max = value;
  }

  all(): Sample[] {
    return [...this.#byName.values()];
  }
}
