/** Logs messages of the mesh for its operator. No message contains a secret or a private key. */
export interface Log {
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}
