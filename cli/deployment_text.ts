// A deployment as text: its key/value head and the table of its groups. Shared by job status, deployment status and the
// monitors.
import type { Deployment, DeploymentState } from "../core/types.ts";
import { formatTimestamp, shortId } from "./format.ts";
import { formatKeyValues, formatTable } from "./table.ts";
import type { Colours } from "./ui.ts";

/** `withJob`: name the job and its version too (everywhere but in the job's own status). */
export function formatDeployment(
  deployment: Deployment,
  options: { verbose: boolean; withJob: boolean; colours: Colours },
): string {
  const { c } = { c: options.colours };
  const head = formatKeyValues([
    ["ID", shortId(deployment.ID, options.verbose)],
    ...(options.withJob
      ? [["Job ID", deployment.JobID], ["Job Version", deployment.JobVersion]] as [string, unknown][]
      : []),
    ["Status", deployment.Status],
    ["Description", deployment.StatusDescription],
  ]);
  const groups = Object.entries(deployment.TaskGroups ?? {});
  if (groups.length === 0) return head;
  return `${head}\n\n${c.bold}Deployed${c.reset}\n${formatGroups(groups)}`;
}

function formatGroups(groups: [string, DeploymentState][]): string {
  const sorted = groups.toSorted(([a], [b]) => a < b ? -1 : 1);
  const any = (has: (state: DeploymentState) => boolean) => sorted.some(([, state]) => has(state));
  const autoRevert = any((state) => state.AutoRevert);
  const canaries = any((state) => state.DesiredCanaries > 0);
  const deadline = any((state) => state.ProgressDeadline > 0);
  const row = ([name, state]: [string, DeploymentState]) => [
    name,
    ...(autoRevert ? [state.AutoRevert] : []),
    ...(canaries ? [state.DesiredCanaries > 0 ? state.Promoted : "N/A"] : []),
    state.DesiredTotal,
    ...(canaries ? [state.DesiredCanaries > 0 ? state.DesiredCanaries : "N/A"] : []),
    state.PlacedAllocs,
    state.HealthyAllocs,
    state.UnhealthyAllocs,
    ...(deadline ? [formatTimestamp(state.RequireProgressBy)] : []),
  ];
  return formatTable([
    [
      "Task Group",
      ...(autoRevert ? ["Auto Revert"] : []),
      ...(canaries ? ["Promoted"] : []),
      "Desired",
      ...(canaries ? ["Canaries"] : []),
      "Placed",
      "Healthy",
      "Unhealthy",
      ...(deadline ? ["Progress Deadline"] : []),
    ],
    ...sorted.map(row),
  ]);
}

/** Nothing will change in it any more. */
export function isDeploymentDone(deployment: Deployment): boolean {
  return ["successful", "failed", "cancelled", "blocked"].includes(deployment.Status);
}
