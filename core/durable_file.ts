// Small files that must be whole after a power cut: the identities of servers and devices, keys. Without it a file that
// was written half a minute before the cut may be there and be empty, and the machine comes back as somebody else.
//
// Invariants: the file holds the old text or the new one, never a part; when a write resolves it is on the disk, its
// name included. Not for what is written often: every write waits for the disk.
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** Replaces the file by `text`, for this user only. Rejects with the system's error. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const unfinished = `${path}.tmp`;
  const file = await open(unfinished, "w", 0o600);
  try {
    await file.chmod(0o600); // One that was left behind keeps its mode over `open`.
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
