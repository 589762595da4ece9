// The `topic` parameters of the event stream: `Job`, `Job:web`, `*`, repeated at will.
import { ApiError } from "../core/errors.ts";

/** Topic → keys. None given: everything. Throws ApiError(400) for what is not `topic[:key]`. */
export function parseTopics(parameters: readonly string[]): Map<string, string[]> {
  const topics = new Map<string, string[]>();
  for (const parameter of parameters) {
    const parts = parameter.split(":");
    if (parts.length > 2) {
      throw new ApiError(
        400,
        `Invalid topic query: error parsing topics: Invalid key value pair for topic, topic: ${parameter}`,
      );
    }
    const [topic = "", key = "*"] = parts;
    topics.set(topic, [...topics.get(topic) ?? [], key]);
  }
  return topics;
}
