/**
 * Holds every node of this process to the schema: a message that its receiver would refuse fails
 * the test. Hostile ends of the tests send through the connection and stay free to break rules.
 */

import { Session } from "../../src/session/session.js";
import { type Message, parseMessage } from "./messages.js";

const { send } = Session.prototype;

/** The messages that nodes of this process sent and their receivers would refuse. */
export const illegal: string[] = [];

Session.prototype.send = function (message: Message): void {
  const text = JSON.stringify(message);
  if (!parseMessage(text)) {
    illegal.push(text);
    throw new Error(`a message that its receiver refuses: ${text.slice(0, 500)}`);
  }
  send.call(this, message);
};
