// The services of one allocation: which are registered now (a group's while it runs, a task's while that task runs),
// their checks, and whether all of them pass. Tells the session what to register and remove; never talks to servers
// itself. Loaded only for allocations that have services.
import { createHash } from "node:crypto";
import type { Service, ServiceCheck, ServiceRegistration } from "../core/types.ts";
import type { AllocationHost, AllocationRunner } from "./allocation.ts";
import { type CheckResult, CheckRunner } from "./checks.ts";
import { portsOf } from "./env.ts";

/** Where registrations go: the session, which sends them until they are acknowledged. */
export interface ServiceSink {
  upsert(registrations: ServiceRegistration[]): void;
  remove(ids: string[]): void;
}

/** A service with the task it belongs to ("" for the group). */
interface Owned {
  task: string;
  service: Service;
}

export class AllocServices {
  #registered = new Map<string, string>();
  #checks = new Map<string, { runner: CheckRunner; owner: string }>();
  #stopped = false;

  constructor(
    private readonly runner: AllocationRunner,
    private readonly host: AllocationHost,
    private readonly onCheck: () => void,
  ) {}

  /** Every service that should be registered is, and every check of them passes. */
  get checksPass(): boolean {
    return this.#wanted().length === this.#all().length &&
      [...this.#checks.values()].every(({ runner }) =>
        // on_update = "ignore": the check is for readers, not for deployments.
        runner.result.Mode === "readiness" || runner.result.Status === "success"
      );
  }

  get results(): Record<string, CheckResult> {
    return Object.fromEntries([...this.#checks].map(([id, { runner }]) => [id, runner.result]));
  }

  /** Tasks or the job changed: registers, updates and removes what differs. */
  changed(): void {
    if (this.#stopped) return;
    const wanted = new Map<string, { registration: ServiceRegistration; owned: Owned }>();
    for (const owned of this.#wanted()) {
      const registration = this.#registration(owned);
      if (registration) wanted.set(registration.ID, { registration, owned });
    }
    const gone = [...this.#registered.keys()].filter((id) => !wanted.has(id));
    const news = [...wanted.values()].map((w) => w.registration)
      .filter((registration) => this.#registered.get(registration.ID) !== JSON.stringify(registration));
    for (const id of gone) this.#forget(id);
    for (const registration of news) this.#registered.set(registration.ID, JSON.stringify(registration));
    if (gone.length > 0) this.host.services.remove(gone);
    if (news.length > 0) this.host.services.upsert(news);
    for (const { registration, owned } of wanted.values()) this.#startChecks(registration, owned);
  }

  /** The allocation ends: nobody is to be sent here any more. */
  stop(): void {
    if (this.#stopped) return;
    const ids = [...this.#registered.keys()];
    this.detach();
    if (ids.length > 0) this.host.services.remove(ids);
    this.#registered.clear();
  }

  /** The agent stops; services stay registered because their tasks run on. */
  detach(): void {
    this.#stopped = true;
    for (const { runner } of this.#checks.values()) runner.stop();
  }

  #all(): Owned[] {
    const { group } = this.runner;
    return [
      ...(group.Services ?? []).map((service) => ({ task: service.TaskName, service })),
      ...group.Tasks.flatMap((task) =>
        (task.Services ?? []).map((service) => ({ task: task.Name, service }))
      ),
    ];
  }

  #wanted(): Owned[] {
    const isUp = (task: string) => this.runner.tasks.get(task)?.machine.phase === "running";
    // A group's services stay while a task of it restarts, as the reference keeps them.
    const groupUp = [...this.runner.tasks.values()].some((t) => t.isRunning) ||
      (this.#registered.size > 0 && !this.runner.isTerminal);
    return this.#all().filter((owned) => owned.task === "" ? groupUp : isUp(owned.task));
  }

  #registration({ task, service }: Owned): ServiceRegistration | null {
    const { alloc } = this.runner;
    const first = task === "" ? [...this.runner.tasks.keys()][0]! : task;
    const text = this.runner.taskText(first);
    if (!text) return null;
    const name = text(service.Name);
    const { ip, port } = this.#address(service, text);
    const owner = this.runner.group.Services?.includes(service) ? `group-${this.runner.group.Name}` : task;
    const canary = alloc.DeploymentStatus?.Canary === true && (service.CanaryTags?.length ?? 0) > 0;
    return {
      ID: `_nomad-task-${alloc.ID}-${owner}-${name}-${service.PortLabel}`,
      ServiceName: name,
      Namespace: alloc.Namespace,
      NodeID: this.host.node().ID,
      Datacenter: this.host.config.datacenter,
      JobID: alloc.JobID,
      AllocID: alloc.ID,
      Tags: (canary ? service.CanaryTags! : service.Tags ?? []).map(text),
      Address: ip,
      Port: port,
      CreateIndex: 0,
      ModifyIndex: 0,
    };
  }

  #address(service: Service, text: (value: string) => string, label = service.PortLabel): {
    ip: string;
    port: number;
  } {
    const node = this.host.node();
    const fallback = node.Attributes["unique.network.ip-address"] ?? "";
    const fixed = text(service.Address);
    if (/^\d+$/.test(label)) return { ip: fixed || fallback, port: Number(label) };
    const task = service.TaskName === "" ? null : service.TaskName;
    const port = portsOf(this.runner.alloc.AllocatedResources, task).find((p) => p.label === label);
    return { ip: fixed || port?.hostIp || fallback, port: port?.value ?? 0 };
  }

  #startChecks(registration: ServiceRegistration, { service, task }: Owned): void {
    const text = this.runner.taskText(task === "" ? [...this.runner.tasks.keys()][0]! : task);
    for (const check of text ? service.Checks ?? [] : []) {
      const id = checkId(registration.ID, check);
      if (this.#checks.has(id)) continue;
      const target = this.#address(service, text!, check.PortLabel || service.PortLabel);
      const taskName = check.TaskName || task;
      const runner = new CheckRunner({
        id,
        check,
        service: registration.ServiceName,
        task: taskName,
        group: this.runner.alloc.Name,
        target,
        text: text!,
        clock: this.host.clock,
        random: this.host.random,
        exec: this.#execOf(taskName),
        changed: () => this.onCheck(),
        restart: () => this.#restart(taskName, registration.ServiceName, check.Name),
      });
      this.#checks.set(id, { runner, owner: registration.ID });
    }
  }

  #execOf(name: string) {
    const task = this.runner.tasks.get(name);
    const driver = task?.driver;
    if (!task || !driver?.capabilities.exec) return null;
    return (command: string[]) => {
      if (!task.handle) return Promise.reject(new Error(`task ${JSON.stringify(name)} does not run`));
      return driver.exec(task.handle, { command, tty: false, env: {} });
    };
  }

  /** check_restart: a group's service without a task restarts every running task. */
  #restart(task: string, service: string, check: string): void {
    const targets = task === "" ? [...this.runner.tasks.values()] : [this.runner.tasks.get(task)];
    for (const target of targets) {
      if (!target?.isRunning) continue;
      const reason = `healthcheck: check ${JSON.stringify(check || service)} unhealthy`;
      target.input({ t: "restart", reason, countsAsFailure: true });
    }
  }

  #forget(serviceId: string): void {
    this.#registered.delete(serviceId);
    for (const [id, { runner, owner }] of this.#checks) {
      if (owner !== serviceId) continue;
      runner.stop();
      this.#checks.delete(id);
    }
  }
}

/** Stable over restarts of the agent, another for every check of every allocation. */
function checkId(serviceId: string, check: ServiceCheck): string {
  return createHash("sha256").update(`${serviceId}\n${JSON.stringify(check)}`).digest("hex");
}
