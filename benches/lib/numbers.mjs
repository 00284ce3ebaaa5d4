// What many measurements say together.

/** @param {number[]} numbers at least one */
export function median(numbers) {
  const sorted = ascending(numbers);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/** The median of what `measure` finds, one time after the other. */
export async function medianOf(count, measure) {
  const results = [];
  while (results.length < count) results.push(await measure());
  return median(results);
}

/**
 * The smallest of them that at least so many are not above.
 *
 * @param {number[]} numbers at least one
 * @param {number} percent
 */
export function percentile(numbers, percent) {
  return ascending(numbers)[Math.ceil((numbers.length * percent) / 100) - 1];
}

function ascending(numbers) {
  return [...numbers].sort((a, b) => a - b);
}
