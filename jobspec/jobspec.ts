// The door of this room: what the server, the command line, the agent's configuration and library users call. Only
// re-exports; each thing is documented where it is defined.
export { type ParsedJob, parseJob, type ParseJobOptions } from "./job.ts";
export {
  type Diagnostic,
  formatDiagnostic,
  formatDiagnostics,
  JobspecError,
  type Position,
  type SourceRange,
} from "./diagnostics.ts";
export type { FileReader } from "./function_types.ts";
export { diskFiles } from "./files.ts";
export { exactInteger, type Json, parseJson, stringifyJson } from "./json.ts";
export type { VariableFile } from "./variables.ts";
export { type DecodedFile, decodeFile, type DecodeFileOptions, type KeyPosition } from "./loose.ts";
export {
  type AttributeSpec,
  block,
  type BlockTable,
  child,
  type ChildSpec,
  type FinishContext,
  freeForm,
  type FreeSpec,
  optional,
  plain,
  stringMap,
  type ValueKind,
} from "./table.ts";
export { formatHcl } from "./format.ts";
export {
  aclPolicyTable,
  csiVolumeTable,
  hostVolumeTable,
  namespaceTable,
  nodePoolTable,
  quotaTable,
  variableSpecTable,
} from "./spec_tables.ts";
export { jobToHcl, PrintError } from "./print.ts";
