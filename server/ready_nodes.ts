// Which nodes may take new allocations, by datacenters and pool. The answer is kept until a node's readiness,
// datacenter or pool changes, because evaluations of all jobs ask the same few questions.
import type { Node } from "../core/types.ts";
import type { Tables } from "./state_tables.ts";

/** Questions remembered at most. */
const QUESTIONS_MAX = 64;

interface Answer {
  slots: number[];
  byDatacenter: Record<string, number>;
}

export class ReadyNodes {
  #generation = -1;
  #answers = new Map<string, Answer>();

  constructor(private readonly tables: Tables) {}

  find(
    datacenters: readonly string[],
    pool: string,
  ): { nodes: Node[]; byDatacenter: Record<string, number> } {
    if (this.#generation !== this.tables.nodesGeneration || this.#answers.size >= QUESTIONS_MAX) {
      this.#answers.clear();
      this.#generation = this.tables.nodesGeneration;
    }
    const question = JSON.stringify([pool, ...datacenters]);
    let answer = this.#answers.get(question);
    if (!answer) this.#answers.set(question, answer = this.#collect(datacenters, pool));
    const { nodes } = this.tables.nodeTable;
    return { nodes: answer.slots.map((slot) => nodes[slot]!), byDatacenter: { ...answer.byDatacenter } };
  }

  #collect(datacenters: readonly string[], pool: string): Answer {
    const { nodeTable } = this.tables;
    const patterns = datacenters.map(globPattern);
    const answer: Answer = { slots: [], byDatacenter: {} };
    for (let slot = 0; slot < nodeTable.length; slot++) {
      const node = nodeTable.nodes[slot];
      if (!node || nodeTable.ready[slot] !== 1) continue;
      if (pool !== "all" && node.NodePool !== pool) continue;
      if (!patterns.some((pattern) => pattern.test(node.Datacenter))) continue;
      answer.slots.push(slot);
      answer.byDatacenter[node.Datacenter] = (answer.byDatacenter[node.Datacenter] ?? 0) + 1;
    }
    return answer;
  }
}

/** `*` stands for any text, everything else for itself. */
function globPattern(glob: string): RegExp {
  const parts = glob.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
