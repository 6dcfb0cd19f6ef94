/** Whether a member is dead or unreachable. */
export const isDown = ({ state }: { readonly state: string }): boolean =>
  state === "dead" || state === "unreachable";
