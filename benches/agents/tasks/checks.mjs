// What several tasks check.

/** Says which words are not in the results. */
export function lacks(results, ...words) {
  const missing = words.filter((word) => !results.includes(word));
  return missing.length > 0 ? `no answer with ${missing.join(', ')}` : undefined;
}

/** Says whether the end of a program was seen. */
export function ended(results, last) {
  return results.includes(last) ? undefined : 'the end was not seen';
}
