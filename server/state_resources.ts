// Sharing what allocations' resources have in common. Placements with dynamic ports each come with resources of their
// own, but only the ports differ: the tasks' part, which is most of it, is kept once.
import type { AllocatedPort, AllocatedResources } from "../core/types.ts";
import { shareText } from "./state_texts.ts";

/** Gives resources back with equal parts shared among all that it was asked for. */
export class ResourceSharer {
  #tasks = new Map<string, Pick<AllocatedResources, "Tasks" | "TaskLifecycles">>();
  #whole = new Map<string, AllocatedResources>();

  share(resources: AllocatedResources): AllocatedResources {
    const { Tasks, TaskLifecycles, Shared } = resources;
    const tasksKey = JSON.stringify([Tasks, TaskLifecycles]);
    let tasks = this.#tasks.get(tasksKey);
    if (!tasks) this.#tasks.set(tasksKey, tasks = { Tasks, TaskLifecycles });
    if (Shared.Ports === null && Shared.Networks === null) {
      const key = `${Shared.DiskMB} ${tasksKey}`;
      let whole = this.#whole.get(key);
      if (!whole) this.#whole.set(key, whole = { ...tasks, Shared });
      return whole;
    }
    return {
      Tasks: tasks.Tasks,
      TaskLifecycles: tasks.TaskLifecycles,
      Shared: { ...Shared, Ports: Shared.Ports && Shared.Ports.map(sharePort) },
    };
  }
}

function sharePort(port: AllocatedPort): AllocatedPort {
  return { ...port, Label: shareText(port.Label), HostIP: shareText(port.HostIP) };
}
