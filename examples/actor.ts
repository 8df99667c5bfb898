// Copyright 2026 the Sabre authors. MIT license.

// One agent owns the data, and everybody else asks it: there is nothing to lock, as no other agent
// can touch what it owns. The actor ends when the other end of its pipe is closed.

import { type Connection, pipe, Process } from "@sabre/ipc";

export type Question =
  | { verb: "deposit" | "withdraw"; account: string; amount: number }
  | { verb: "balance"; account: string };

/** A refusal is a message like any other: an error that is thrown would end the actor. */
export type Answer = { balance: number } | { refused: string };

/** The actor: answers one question after the other, and returns how many there were. */
export function bank(connection: Connection<Answer, Question>): number {
  const balances = new Map<string, number>();
  let answered = 0;
  for (const question of connection) {
    connection.sendSync(answer(balances, question));
    answered++;
  }
  return answered;
}

function answer(balances: Map<string, number>, question: Question): Answer {
  const { verb, account } = question;
  const before = balances.get(account) ?? 0;
  if (verb === "balance") return { balance: before };
  const balance = verb === "deposit" ? before + question.amount : before - question.amount;
  if (balance < 0) return { refused: `${account} has only ${before}` };
  balances.set(account, balance);
  return { balance };
}

/** What the rest of the program sees of the actor. Any number of tasks may ask at a time. */
export class Bank implements Disposable {
  readonly #connection: Connection<Question, Answer>;

  constructor(connection: Connection<Question, Answer>) {
    this.#connection = connection;
  }

  deposit(account: string, amount: number): Promise<number> {
    return this.#ask({ verb: "deposit", account, amount });
  }

  withdraw(account: string, amount: number): Promise<number> {
    return this.#ask({ verb: "withdraw", account, amount });
  }

  balance(account: string): Promise<number> {
    return this.#ask({ verb: "balance", account });
  }

  async #ask(question: Question): Promise<number> {
    // Both calls are made before anything is awaited. The calls of one agent take effect in the
    // order in which they were made, so that each task receives the answer to its own question.
    const [, answer] = await Promise.all([
      this.#connection.send(question),
      this.#connection.receive(),
    ]);
    if ("refused" in answer) throw new Error(answer.refused);
    return answer.balance;
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

export interface Outcome {
  ada: number;
  bob: number;
  refused: string;
  answered: number;
}

export async function main(): Promise<Outcome> {
  const [here, there] = pipe<Question, Answer>();
  using client = new Bank(here);
  await using actor = new Process(import.meta.url, { target: bank, args: [there] }).start();

  await Promise.all([
    client.deposit("ada", 100),
    client.deposit("bob", 20),
    client.withdraw("ada", 30),
    client.deposit("bob", 30),
  ]);
  const [ada, bob] = await Promise.all([client.balance("ada"), client.balance("bob")]);
  console.log(`ada has ${ada}, bob has ${bob}`);

  const refused = await client.withdraw("ada", 1_000).then(
    () => "nothing",
    (error) => error.message,
  );
  console.log(`refused: ${refused}`);

  here.close();
  const answered = await actor.result;
  console.log(`the actor answered ${answered} questions`);
  return { ada, bob, refused, answered };
}

if (import.meta.main) await main();
