// Messages of many senders on their way to one handler: those of a sender are handled one after the other, also when
// handling one takes time, senders take turns, and all of it keeps to the budget of the turn (turns.ts).
//
// Invariant: a sender's message is handled when all that it sent before is, and never after the sender was dropped.
import type { Turns, TurnTask } from "./turns.ts";

interface Queue<M> {
  messages: M[];
  /** Position of the next one. */
  next: number;
  /** The handler has not come to the end of one. */
  isBusy: boolean;
}

export interface InboxOptions<S, M> {
  /** A rejected promise or a throw is told to `onError`. */
  handle(sender: S, message: M): void | Promise<void>;
  onError(sender: S, error: unknown): void;
}

export class Inbox<S extends object, M> {
  #queues = new Map<S, Queue<M>>();
  /** Senders whose next message can be handled, in their order. */
  #ready = new Set<S>();
  #task: TurnTask;

  constructor(turns: Turns, private readonly options: InboxOptions<S, M>) {
    this.#task = turns.task(() => this.#step());
  }

  add(sender: S, message: M): void {
    let queue = this.#queues.get(sender);
    if (!queue) this.#queues.set(sender, queue = { messages: [], next: 0, isBusy: false });
    queue.messages.push(message);
    if (queue.isBusy) return;
    this.#ready.add(sender);
    this.#task.wake();
  }

  /** Forgets what the sender said and what it will say. */
  drop(sender: S): void {
    this.#queues.delete(sender);
    this.#ready.delete(sender);
  }

  #step(): boolean {
    for (const sender of this.#ready) {
      this.#ready.delete(sender);
      this.#handleNext(sender, this.#queues.get(sender)!);
      break;
    }
    return this.#ready.size > 0;
  }

  #handleNext(sender: S, queue: Queue<M>): void {
    const message = queue.messages[queue.next++]!;
    if (queue.next === queue.messages.length) {
      queue.messages = [];
      queue.next = 0;
    }
    try {
      const handled = this.options.handle(sender, message);
      if (handled) {
        queue.isBusy = true;
        handled.catch((error) => this.options.onError(sender, error)).finally(() => {
          queue.isBusy = false;
          this.#goOn(sender, queue);
          if (this.#ready.size > 0) this.#task.wake();
        });
        return;
      }
    } catch (error) {
      this.options.onError(sender, error);
    }
    this.#goOn(sender, queue);
  }

  #goOn(sender: S, queue: Queue<M>): void {
    if (this.#queues.get(sender) !== queue) return;
    if (queue.messages.length > queue.next) this.#ready.add(sender);
    else this.#queues.delete(sender);
  }
}
