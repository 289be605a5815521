/** Several promises at once, none of which is left running. */

/**
 * As Promise.all, but an error is thrown when all have ended: what goes on after it could not be stopped or closed.
 * @template {readonly unknown[]} T
 * @param {T} promises
 * @returns {Promise<{-readonly [P in keyof T]: Awaited<T[P]>}>}
 */
export async function settleAll(promises) {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
