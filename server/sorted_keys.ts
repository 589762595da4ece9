// A sorted set of keys that stays cheap to change when it is large: keys stand in pieces of bounded size, so adding or
// removing one moves a few hundred others and not all of them.
//
// Invariants: keys are in ascending order without duplicates, within a piece and from piece to piece; no piece is empty.
const PIECE_MAX = 512;

export class SortedKeys implements Iterable<string> {
  #pieces: string[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds `key`; nothing happens when it is there. */
  add(key: string): void {
    const number = this.#pieceFor(key);
    const piece = this.#pieces[number];
    if (!piece) {
      this.#pieces.push([key]);
      this.#size++;
      return;
    }
    const at = search(piece, key);
    if (piece[at] === key) return;
    piece.splice(at, 0, key);
    this.#size++;
    if (piece.length > PIECE_MAX) this.#pieces.splice(number + 1, 0, piece.splice(PIECE_MAX >> 1));
  }

  /** Removes `key`; nothing happens when it is not there. */
  delete(key: string): void {
    const number = this.#pieceFor(key);
    const piece = this.#pieces[number];
    if (!piece) return;
    const at = search(piece, key);
    if (piece[at] !== key) return;
    piece.splice(at, 1);
    this.#size--;
    if (piece.length === 0) this.#pieces.splice(number, 1);
  }

  /** Every key from `first` on (itself included), in order. The set must not change meanwhile. */
  *from(first: string): Iterable<string> {
    for (let number = this.#pieceFor(first); number < this.#pieces.length; number++) {
      const piece = this.#pieces[number]!;
      for (let at = search(piece, first); at < piece.length; at++) yield piece[at]!;
    }
  }

  [Symbol.iterator](): Iterator<string> {
    return this.from("")[Symbol.iterator]();
  }

  /** The piece that holds `key` or would have it: the last that begins at or before it, else the first. */
  #pieceFor(key: string): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pieces[middle]![0]! <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

/** Position of `key` in sorted `keys`, or where it would go. */
function search(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
