/** Waits for several descriptors at once (epoll(7)). */
import { EPOLL_CLOEXEC } from "../linux.js";
import { check, close, epollCreate, epollCtl, epollWait } from "./libc.js";

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 0x001;
const EPOLLERR = 0x008;

/** struct epoll_event is packed on x86-64 only: u32 events, then u64 data. */
const DATA = process.arch === "x64" ? 4 : 8;
const EVENT_SIZE = DATA + 8;

export class Epoll {
  readonly #fd = check(epollCreate(EPOLL_CLOEXEC), "epoll_create1");
  readonly #events: DataView;
  readonly #capacity: number;
  #count = 0;

  constructor(descriptors: readonly number[]) {
    this.#capacity = descriptors.length;
    this.#events = new DataView(new ArrayBuffer(EVENT_SIZE * descriptors.length));
    for (const fd of descriptors) this.watch(fd);
  }

  /** Stops watching `fd`. A descriptor that is not watched is ignored. */
  forget(fd: number): void {
    epollCtl(this.#fd, EPOLL_CTL_DEL, fd, new Uint8Array(EVENT_SIZE));
  }

  /** Starts watching `fd`. */
  watch(fd: number): void {
    const event = new DataView(new ArrayBuffer(EVENT_SIZE));
    event.setUint32(0, EPOLLIN, true);
    event.setInt32(DATA, fd, true);
    check(epollCtl(this.#fd, EPOLL_CTL_ADD, fd, event), "epoll_ctl");
  }

  /** Blocks until a descriptor is readable or failed, a signal arrives, or the time is over. */
  wait(milliseconds: number): void {
    this.#count = epollWait(this.#fd, this.#events, this.#capacity, milliseconds);
  }

  /** Whether the last wait found `fd` readable or failed. */
  has(fd: number): boolean {
    return this.#eventsOf(fd) !== 0;
  }

  /** Whether the last wait found an error at `fd`. */
  failed(fd: number): boolean {
    return (this.#eventsOf(fd) & EPOLLERR) !== 0;
  }

  #eventsOf(fd: number): number {
    for (let i = 0; i < this.#count; i++) {
      if (this.#events.getInt32(i * EVENT_SIZE + DATA, true) === fd) {
        return this.#events.getUint32(i * EVENT_SIZE, true);
      }
    }
    return 0;
  }

  close(): void {
    close(this.#fd);
  }
}
