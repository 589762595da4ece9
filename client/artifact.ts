// Fetches the artifacts of a task. Refuses what it cannot fetch.
export function fetchArtifact(input: { artifact: { GetterSource: string } }): Promise<void> {
  return Promise.reject(
    new Error(
      `artifact ${JSON.stringify(input.artifact.GetterSource)}: this device cannot fetch artifacts yet`,
    ),
  );
}
