/** Whether a member is dead, or no way to it works. */
export const isDown = ({ state }: { readonly state: string }): boolean =>
  state === "dead" || state === "unreachable";
