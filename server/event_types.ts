// The type that the API's event stream gives to what a command changed.
import { assertNever } from "../core/assert.ts";
import type { Command } from "./commands.ts";

/** "" for commands of which the stream tells nothing. */
export function eventTypeOf(command: Command): string {
  switch (command.kind) {
    case "job.register":
    case "job.stability":
    case "job.tag":
      return "JobRegistered";
    case "job.deregister":
      return "JobDeregistered";
    case "node.register":
      return "NodeRegistration";
    case "node.deregister":
      return "NodeDeregistration";
    case "node.status":
    case "node.events":
      return "NodeEvent";
    case "node.drain":
      return "NodeDrain";
    case "node.eligibility":
      return "NodeEligibility";
    case "eval.upsert":
      return "EvaluationUpdated";
    case "plan":
      return "PlanResult";
    case "alloc.client":
      return "AllocationUpdated";
    case "alloc.transition":
      return "AllocationUpdateDesiredStatus";
    case "deployment.status":
      return "DeploymentStatusUpdate";
    case "deployment.promote":
      return "DeploymentPromotion";
    case "deployment.health":
      return "DeploymentAllocHealth";
    case "namespace.upsert":
      return "NamespaceUpserted";
    case "namespace.delete":
      return "NamespaceDeleted";
    case "pool.upsert":
      return "NodePoolUpserted";
    case "pool.delete":
      return "NodePoolDeleted";
    case "service.upsert":
      return "ServiceRegistration";
    case "service.delete":
      return "ServiceDeregistration";
    case "noop":
    case "job.scalingEvent":
    case "job.periodicLaunch":
    case "eval.delete":
    case "deployment.delete":
    case "scheduler.config":
    case "cluster.init":
    case "cluster.rename":
    case "autopilot.config":
    case "state.stage":
    case "state.restore":
    case "state.unstage":
    case "summaries.reconcile":
      return "";
    default:
      return assertNever(command, "command");
  }
}
