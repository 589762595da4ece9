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
