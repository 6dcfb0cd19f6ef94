/** Deletes the oldest entries of a map, by insertion, until at most `most` are left. */
export function evictOldest<K>(map: Map<K, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) return;
    map.delete(oldest);
  }
}
