// The shared storage suite on memory.
import { memoryStorage } from "../../server/storage.ts";
import { storageSuite } from "./storage_suite.ts";

storageSuite("memoryStorage", () => {
  // Memory outlives close() within one process, which is all a restart can mean for it.
  const storage = memoryStorage();
  return { storage: () => storage, remove: () => {} };
});
