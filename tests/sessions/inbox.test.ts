// Work in pieces: what a turn of the event loop may take, and that senders' messages stay in their order whatever it takes.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Inbox } from "../../server/inbox.ts";
import { Turns } from "../../server/turns.ts";
import type { Clock } from "../../core/env.ts";
import { settle } from "../scheduler/cluster.ts";

/** Time passes only where a test says that work takes it; timers run in turns. */
class TurnClock implements Clock {
  #nowMs = 0;
  #timers: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(_delayMs: number, run: () => void): () => void {
    this.#timers.push(run);
    return () => this.#timers = this.#timers.filter((other) => other !== run);
  }

  spend(ms: number): void {
    this.#nowMs += ms;
  }

  /** Turns of the event loop until nothing waits. */
  async turns(): Promise<void> {
    for (await settle(); this.#timers.length > 0; await settle()) {
      for (const run of this.#timers.splice(0)) run();
    }
  }
}

test("Turns end a task's pieces when the budget is spent and go on in the next turn", async () => {
  const clock = new TurnClock();
  const turns = new Turns(clock, 10);
  let done = 0;
  const task = turns.task(() => {
    clock.spend(4);
    return ++done < 7;
  });
  task.wake();
  assert.equal(done, 3);
  task.wake();
  assert.equal(done, 3, "a wake within the turn has no budget left");
  await clock.turns();
  assert.equal(done, 7);
});

test("Turns let a task that waits go before the one that has just used a turn up", async () => {
  const clock = new TurnClock();
  const turns = new Turns(clock, 10);
  const seen: string[] = [];
  const piece = (name: string, count: number) => {
    let left = count;
    return turns.task(() => {
      clock.spend(6);
      seen.push(name);
      return --left > 0;
    });
  };
  const long = piece("long", 6);
  const short = piece("short", 1);
  long.wake();
  short.wake();
  assert.deepEqual(seen, ["long", "long"]);
  await clock.turns();
  assert.deepEqual(seen, ["long", "long", "long", "long", "short", "long", "long"]);
});

test("Turns run pieces one after the other, also when a piece wakes another task", () => {
  const turns = new Turns(new TurnClock(), 10);
  const seen: string[] = [];
  const inner = turns.task(() => {
    seen.push("inner");
    return false;
  });
  const outer = turns.task(() => {
    inner.wake();
    seen.push("outer");
    return false;
  });
  outer.wake();
  assert.deepEqual(seen, ["outer", "inner"]);
});

test("an Inbox goes on after a message that fails, and forgets a sender that is dropped", async () => {
  const handled: string[] = [];
  const failed: string[] = [];
  const sender = { name: "a" };
  const inbox: Inbox<typeof sender, string> = new Inbox(new Turns(new TurnClock(), 10), {
    handle: (_, message) => {
      if (message === "throws") throw new Error(message);
      if (message === "rejects") return Promise.reject(new Error(message));
      handled.push(message);
      if (message === "last") inbox.drop(sender);
    },
    onError: (_, error) => failed.push((error as Error).message),
  });
  for (const message of ["1", "throws", "2", "rejects", "3", "last", "4"]) inbox.add(sender, message);
  await settle();
  assert.deepEqual(handled, ["1", "2", "3", "last"]);
  assert.deepEqual(failed, ["throws", "rejects"]);
});

test("an Inbox keeps every sender's order, however long handling takes, and loses nothing", async () => {
  const message = fc.record({
    sender: fc.integer({ min: 0, max: 4 }),
    costMs: fc.constantFrom(0, 3, 12),
    waits: fc.integer({ min: 0, max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 60 }), async (messages) => {
      const clock = new TurnClock();
      const senders = Array.from({ length: 5 }, (_, number) => ({ number }));
      const handled: number[][] = senders.map(() => []);
      const busy = new Set<number>();
      const inbox: Inbox<{ number: number }, number> = new Inbox(new Turns(clock, 10), {
        handle: ({ number }, at) => {
          assert.ok(!busy.has(number), "a sender's message is handled before the one before it");
          const { costMs, waits } = messages[at]!;
          clock.spend(costMs);
          handled[number]!.push(at);
          if (waits === 0) return;
          busy.add(number);
          return (async () => {
            for (let i = 0; i < waits; i++) await Promise.resolve();
            busy.delete(number);
          })();
        },
        onError: (_, error) => assert.fail(String(error)),
      });
      for (const [at, { sender }] of messages.entries()) inbox.add(senders[sender]!, at);
      await clock.turns();
      const sent = senders.map(({ number }) =>
        [...messages.keys()].filter((at) => messages[at]!.sender === number)
      );
      assert.deepEqual(handled, sent);
    }),
    { numRuns: 200 },
  );
});
