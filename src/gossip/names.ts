/** How this node calls others. A member's name is unique; any other node may have chosen any name. */
import { nodeId } from "../identity/identity.js";
import type { Members } from "./members.js";
import { type NodeRecord, nameAndId } from "./record.js";

export class Names {
  readonly #members: Members;

  constructor(members: Members) {
    this.#members = members;
  }

  /** The member of this name. */
  member(name: string): NodeRecord | undefined {
    const { view } = this.#members;
    return view.members.get(view.nameHolder(name)?.id ?? "");
  }

  /** The name of a member. */
  ofMember(id: string): string | undefined {
    return this.#members.view.members.get(id)?.name;
  }

  /** A member by its name, any other node by name and id; nothing where no record of it is held. */
  of(id: string): string | undefined {
    const record = this.#members.get(id);
    return this.ofMember(id) ?? (record && nameAndId(record));
  }

  /** The name that a node chose, unless another one has it; then its id. */
  orId(id: string): string {
    const name = (this.#members.get(id) ?? this.#members.dropped(id))?.name;
    const holder = name === undefined ? undefined : this.#members.view.nameHolder(name);
    return name === undefined || (holder && holder.id !== id) ? id : name;
  }

  /** A member by its name, the node of any other public key by its id. */
  brief(publicKey: string): string {
    const id = nodeId(publicKey);
    return this.ofMember(id) ?? id;
  }
}
