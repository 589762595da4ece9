// Keys of the state's maps. A zero byte separates the parts: it cannot stand in a namespace, so keys sort by
// namespace first and two pairs never share one.

let lastNamespace = "";
let lastId = "";
let lastKey = "\0";

/** Key of (namespace, id). The last one is remembered, because a plan asks for its job's key a thousand times. */
export function jobKey(namespace: string, id: string): string {
  if (namespace === lastNamespace && id === lastId) return lastKey;
  lastKey = `${namespace}\0${id}`;
  lastNamespace = namespace;
  lastId = id;
  return lastKey;
}

/** Position of `key` in sorted `keys`, or where it would go. */
export function searchKey(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
