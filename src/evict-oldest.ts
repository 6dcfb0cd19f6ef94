/** Drops what was put into a map longest ago, until no more than so many are left. */
export function evictOldest<K>(map: Map<K, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) return;
    map.delete(oldest);
  }
}
