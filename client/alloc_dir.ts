// The directories of an allocation: <root>/<id>/alloc/{data,logs,tmp} shared by its tasks, and for every task
// <root>/<id>/<task>/{local,secrets,tmp}. Makes and removes them and moves sticky data from a predecessor; knows
// nothing of drivers. `secrets` is readable by the task's user only and never served to anyone.
import { chmod, chown, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../core/errors.ts";

export interface TaskDirs {
  /** `<allocDir>/<task>`. */
  task: string;
  local: string;
  secrets: string;
  tmp: string;
}

export interface AllocDirs {
  root: string;
  shared: string;
  data: string;
  logs: string;
}

export function allocDirs(parent: string, allocId: string): AllocDirs {
  const root = join(parent, allocId);
  const shared = join(root, "alloc");
  return { root, shared, data: join(shared, "data"), logs: join(shared, "logs") };
}

export function taskDirs(allocRoot: string, task: string): TaskDirs {
  const dir = join(allocRoot, task);
  return { task: dir, local: join(dir, "local"), secrets: join(dir, "secrets"), tmp: join(dir, "tmp") };
}

/** Everything below is usable by tasks of any user, so modes are set whatever the agent's umask is. */
async function makeOpen(...paths: string[]): Promise<void> {
  await Promise.all(paths.map(async (path) => {
    await mkdir(path, { recursive: true });
    await chmod(path, 0o777);
  }));
}

/** Makes the shared part. May be repeated. */
export async function makeAllocDirs(dirs: AllocDirs): Promise<void> {
  await mkdir(dirs.root, { recursive: true, mode: 0o755 });
  await makeOpen(dirs.shared);
  await makeOpen(dirs.data, dirs.logs, join(dirs.shared, "tmp"));
}

/** Makes a task's part. `user` owns secrets/; "" leaves it to the agent's user. May be repeated. */
export async function makeTaskDirs(dirs: TaskDirs, user: string): Promise<void> {
  await mkdir(dirs.task, { recursive: true });
  await Promise.all([
    chmod(dirs.task, 0o777),
    makeOpen(dirs.local),
    mkdir(dirs.tmp, { recursive: true }).then(() => chmod(dirs.tmp, 0o1777)),
    mkdir(dirs.secrets, { recursive: true, mode: 0o700 }),
  ]);
  if (user !== "" && process.getuid?.() === 0) {
    const owner = await lookupUser(user);
    if (owner) await chown(dirs.secrets, owner.uid, owner.gid);
  }
}

/** `name` or `uid[:gid]` → ids, or null when this host does not know the name (an image may). */
export async function lookupUser(user: string): Promise<{ uid: number; gid: number } | null> {
  const [name = "", group] = user.split(":");
  const numeric = /^\d+$/.test(name) ? Number(name) : null;
  const passwd = await readFile("/etc/passwd", "utf8");
  for (const line of passwd.split("\n")) {
    const fields = line.split(":");
    if (fields[0] === name || (numeric !== null && Number(fields[2]) === numeric)) {
      return {
        uid: Number(fields[2]),
        gid: group && /^\d+$/.test(group) ? Number(group) : Number(fields[3]),
      };
    }
  }
  return numeric === null ? null : { uid: numeric, gid: group ? Number(group) : numeric };
}

/** Takes alloc/data and every task's local/ over from a predecessor on the same device (sticky disk). */
export async function moveStickyData(from: AllocDirs, to: AllocDirs, tasks: string[]): Promise<void> {
  await replaceBy(from.data, to.data);
  for (const task of tasks) await replaceBy(taskDirs(from.root, task).local, taskDirs(to.root, task).local);
}

async function replaceBy(from: string, to: string): Promise<void> {
  await mkdir(join(to, ".."), { recursive: true });
  await rm(to, { recursive: true, force: true });
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw new Error(`Cannot take over ${from} from the previous allocation: ${errorText(error)}`, {
        cause: error,
      });
    }
    await makeOpen(to);
  }
}

/** Removes everything of an allocation. */
export async function removeAllocDirs(dirs: AllocDirs): Promise<void> {
  await rm(dirs.root, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 });
}
