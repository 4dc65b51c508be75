/** Who is aborted with a signal: it has one listener, however many share it, because Node.js warns of more than ten. */
const followers = new WeakMap<AbortSignal, Set<AbortController>>();

/**
 * Abort a controller when a signal is aborted, with its reason.
 *
 * @returns What ends this.
 */
export function follow(signal: AbortSignal, controller: AbortController): () => void {
  const all = followers.get(signal) ?? begin(signal);
  all.add(controller);
  return () => all.delete(controller);
}

function begin(signal: AbortSignal): Set<AbortController> {
  const all = new Set<AbortController>();
  followers.set(signal, all);
  signal.addEventListener("abort", () => all.forEach((one) => one.abort(signal.reason)), { once: true });
  return all;
}
