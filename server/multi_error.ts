// Several errors in one text, laid out as the API's clients know it.

/** "2 errors occurred:\n\t* first\n\t* second\n\n". */
export function formatMultiError(errors: readonly string[]): string {
  const head = errors.length === 1 ? "1 error occurred:" : `${errors.length} errors occurred:`;
  return `${head}\n${errors.map((error) => `\t* ${error}`).join("\n")}\n\n`;
}
