// The JSON text of records that are told to many: a job that goes to a thousand devices is encoded once. Keeps the newest
// only, so that what was told once to everybody does not stay in memory for as long as its record lives.
//
// Invariant: records are immutable, so a text once made holds for its record for ever.

const RECORDS_MAX = 512;
const CHARS_MAX = 16 * 1024 * 1024;

export class TextCache {
  /** Oldest first. */
  #texts = new Map<object, string>();
  #chars = 0;

  get(record: object): string {
    const known = this.#texts.get(record);
    if (known !== undefined) return known;
    const text = JSON.stringify(record);
    this.#texts.set(record, text);
    this.#chars += text.length;
    if (this.#texts.size > RECORDS_MAX || this.#chars > CHARS_MAX) this.#evict();
    return text;
  }

  #evict(): void {
    for (const [record, text] of this.#texts) {
      if (this.#texts.size <= RECORDS_MAX >> 1 && this.#chars <= CHARS_MAX >> 1) return;
      this.#texts.delete(record);
      this.#chars -= text.length;
    }
  }
}
