// A number whose text a double would change: nanosecond instants do not fit one. Kept as its text from JSON to print.

export class ExactNumber {
  constructor(readonly text: string) {}
}
