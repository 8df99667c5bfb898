// Copyright 2026 the Sabre authors. MIT license.

// Who notices that an agent has ended, when it could not say so itself: what ends by code of ours
// declares its own end, and this is for all the others.
//
// Two things prove that nothing of an agent can run any more.
// - A port closes whose other end it held and never closed. Every agent that this package starts has
//   one, to the first agent above it that this package did not start: its root.
// - A Web Lock becomes free that it held. Agents that nobody of us started take one when they meet the
//   first primitive of a domain. For a global `Worker` that is a proof; a worker of
//   `node:worker_threads` may still be in its last step, so then there is a pause first, and it could
//   not end by itself, so it soon exchanges the lock for a port.
//
// Who watches: the main thread and whoever made a domain all locks of the domain, and a root all ports,
// by way of the warden, a thread that never blocks and pins nothing. A root hears by itself of the end of
// its own children as long as its event loop turns. So the warden is started when it is needed: when there
// is a lock to watch, which would keep an event loop alive, when a process starts another one, when a root
// stops a child by force, and when it blocks for longer. Until then the root keeps the ports as they are: one
// that somebody listens to could not be handed over at once. What has happened meanwhile is not lost: a
// port keeps its messages, and its end.

import {
  appointWarden,
  bury,
  callWatchers,
  countSigned,
  type Domain,
  giveSign,
  isAlive,
  joinedDomains,
  livingAgents,
  LOCK_IS_HINT,
  LOCK_IS_PROOF,
  lockName,
  NO_SIGN,
  observe,
  parentOf,
  requestStop,
  signOf,
  slotOf,
  untilSigned,
  untilWarden,
  wardenOf,
} from "./_agent.ts";
import { parkAsync, whileBlocked } from "./_park.ts";
import {
  findLocks,
  findThreads,
  type NodeWorker,
  type Port,
  type ThreadKind,
  threadKind,
  type Threads,
} from "./_threads.ts";

/** To whoever watches: watch the agent `adopt`, whose end this port shows. */
export interface Adoption {
  readonly adopt: number;
  readonly parent: number;
  readonly port: Port;
}

/** To an agent, by the port that shows its end: end within so many milliseconds. */
export interface Stop {
  readonly stop: number;
}

/** To the warden. */
type Order =
  & { readonly domain: SharedArrayBuffer }
  & (Adoption | { readonly adopt?: never; readonly isLasting: boolean });

/** Milliseconds that an event loop may be blocked, in all, before the warden takes over what it watches. */
const PATIENCE = 100;
/** Milliseconds after which the last step of an agent is over whose lock is a hint. */
const LAST_STEP = 250;

interface Ward {
  readonly domain: Domain;
  readonly parent: number;
  readonly port: Port;
  /** Whether this thread listens to the port. */
  readonly isHeard: boolean;
}

/** By the agent's id: in a root, the ports that it keeps; in the warden, those that it listens to. */
const wards = new Map<number, Ward>();
/** The domains in which others may need the warden; whether it watches the locks there. */
const watched = new Map<Domain, boolean>();
/** Those that the warden has been told of. */
const told = new Set<Domain>();

// -- By ports ----------------------------------------------------------------------------------

/** In a root: has the end of an agent watched through a port. */
export function keepWatch(domain: Domain, { adopt: id, parent, port }: Adoption): void {
  port.unref();
  wards.set(id, { domain, parent, port, isHeard: false });
  attend(domain);
  overlook(domain, false);
  if (state !== undefined) handOver();
}

/** In a root that stops a child by force: this thread may be busy when the child ends. */
export function hurryWatch(): void {
  if (wards.size > 0) summonWarden();
}

/** In a root: nobody needs to watch its child any longer, which has ended. */
export function endWatch(domain: Domain, id: number): void {
  const ward = wards.get(id);
  if (ward === undefined) return;
  // It leaves some behind: the adoptions wait in the port.
  if (childrenOf(domain, id).length > 0) return summonWarden();
  wards.delete(id);
  ward.port.close();
}

/** In the warden, or where there is none. */
function listen(domain: Domain, { adopt: id, parent, port }: Adoption): void {
  wards.set(id, { domain, parent, port, isHeard: true });
  port.on("message", (adoption: Adoption) => listen(domain, adoption));
  port.on("close", () => {
    wards.delete(id);
    bury(domain, id);
    if (parent === 0) return watchOrphans(domain, id);
    stopOrphans(domain, id);
    // One with a slot and no port was never started: its parent died when it was about to. Whoever
    // was started sent the port first, by way of the one that has just closed.
    for (const other of childrenOf(domain, id)) if (!wards.has(other)) bury(domain, other);
  });
  port.unref();
  if (parent !== 0 && !isAlive(domain, parent)) stopOrphans(domain, parent);
}

/** Asks those to end whose parent has ended without waiting for them. */
function stopOrphans(domain: Domain, parent: number): void {
  for (const [id, ward] of wards) {
    if (ward.parent !== parent || ward.domain !== domain) continue;
    requestStop(domain, id);
    const stop: Stop = { stop: 0 };
    ward.port.postMessage(stop);
  }
}

function childrenOf(domain: Domain, parent: number): number[] {
  return livingAgents(domain).filter((id) => parentOf(domain, id) === parent);
}

// -- By locks ----------------------------------------------------------------------------------

/**
 * Gives this agent its part in watching over the domain, the first time that it makes or meets a
 * primitive there: it gives a sign by which it can be watched, or it watches, or its parent sees to it.
 */
export function attend(domain: Domain): void {
  if (attended.has(domain)) return;
  attended.add(domain);
  const kind = threadKind();
  const isMaker = slotOf(domain.id) === 0;
  if (kind === "main") {
    // Its maker may have to show itself.
    if (!isMaker) callWatchers(domain);
  } else if (parentOf(domain, domain.id) === 0) {
    // It would be kept alive, and as long as it is alone nobody needs to know.
    if (kind === "node" && isMaker && !hasParent()) alone.add(domain);
    else show(domain, kind);
  }
  if (kind === "main" || isMaker) overlook(domain, true);
}

/** The domains that this agent made and in which it has not shown itself. */
const alone = new Set<Domain>();

/** Has the warden start as soon as another agent of the domain needs it. */
function overlook(domain: Domain, locks: boolean): void {
  const isNew = !watched.has(domain);
  if (isNew || locks) watched.set(domain, locks);
  if (!isNew) return;
  const news = untilSigned(domain, signedByThis(domain));
  if (news === undefined) summonWarden();
  else news.then(summonWarden);
}

const attended = new Set<Domain>();

/** Takes a Web Lock and says so. */
function show(domain: Domain, kind: ThreadKind): void {
  const locks = findLocks();
  const release = Promise.withResolvers<void>();
  // Held before this call returns.
  locks?.request(lockName(domain, domain.id), () => release.promise);
  const sign = locks === undefined ? NO_SIGN : kind === "worker" ? LOCK_IS_PROOF : LOCK_IS_HINT;
  // A held lock keeps the event loop alive. That of a global `Worker` is alive until it closes itself
  // in any case, and a process of ours, met in a foreign domain, ends itself. Any other worker of
  // `node:worker_threads` would never end: it sends the warden a port in place of the lock.
  const isLasting = kind === "worker" || hasParent();
  if (!isLasting) unseen.set(domain, release.resolve);
  giveSign(domain, sign);
  if (isLasting) return;
  const news = untilWarden(domain);
  if (news === undefined) sendPorts();
  else news.then(sendPorts);
}

/** The domains whose warden is still to be sent a port, and how to release the lock there. */
const unseen = new Map<Domain, () => void>();

/** The ends of ports that stay open until this thread ends. */
const kept: Port[] = [];

function sendPorts(): void {
  const threads = findThreads()!;
  for (const [domain, release] of unseen) {
    const warden = wardenOf(domain);
    if (warden === 0) continue;
    unseen.delete(domain);
    if (warden < 0 || threads.postMessageToThread === undefined) {
      release();
      continue;
    }
    const { port1, port2 } = new threads.MessageChannel();
    // It shows the end without being alive.
    port2.unref();
    kept.push(port2);
    const order: Order = { domain: domain.memory, adopt: domain.id, parent: 0, port: port1 };
    const exchange = () => {
      // First this, for those who wait for the lock.
      giveSign(domain, NO_SIGN);
      release();
    };
    // Sent before this call returns. Resolves when the warden watches the port. Where threads of
    // different programs have the same number, as in parallel tests, it may be refused: then nobody does.
    threads.postMessageToThread(warden, { sabre: order }, [port1]).then(exchange, exchange);
  }
}

/** Whether this agent is one that this package started. */
function hasParent(): boolean {
  const first = joinedDomains()[0];
  return first !== undefined && parentOf(first, first.id) !== 0;
}

function signedByThis(domain: Domain): number {
  return signOf(domain, domain.id) === NO_SIGN ? 0 : 1;
}

/** Declares those dead whose locks become free, as long as this thread runs. */
async function watchLocks(domain: Domain): Promise<void> {
  const seen = new Set<number>();
  for (;;) {
    const count = countSigned(domain);
    for (const id of livingAgents(domain)) {
      const sign = signOf(domain, id);
      if (sign === NO_SIGN || seen.has(id) || id === domain.id) continue;
      seen.add(id);
      watchLock(domain, id, sign, () => seen.delete(id));
    }
    await untilSigned(domain, count);
  }
}

/** Stands for the sign of a process of ours: it holds a lock, as a hint, but gives none. */
const ORPHAN = -1;

function watchLock(domain: Domain, id: number, sign: number, done: () => void): void {
  const end = () => {
    done();
    // It has released the lock, as a port does the same by now.
    if (sign !== ORPHAN && signOf(domain, id) !== sign) return;
    bury(domain, id);
    watchOrphans(domain, id);
  };
  const wait = () => setTimeout(end, LAST_STEP);
  const locks = findLocks();
  // Without locks nobody gives a sign, and an orphan is stopped with its parent.
  if (locks === undefined) wait();
  else locks.request(lockName(domain, id), sign === LOCK_IS_PROOF ? end : () => void wait());
}

/**
 * Watches the children of a root that has ended, which end with it. Their ports went to the root, and
 * nobody can listen to them any more.
 */
function watchOrphans(domain: Domain, root: number): void {
  for (const child of childrenOf(domain, root)) {
    requestStop(domain, child);
    watchLock(domain, child, ORPHAN, () => {});
  }
}

// -- The warden --------------------------------------------------------------------------------

// The one word of memory that is shared with the warden: its state. Written by the warden, once, when it
// listens, and by its host if it fails.
const STARTING = 0;
export const READY = 1;
const FAILED = -1;

const BOOTSTRAP = "data:text/javascript," + encodeURIComponent(`
const { workerData } = globalThis.process.getBuiltinModule("node:worker_threads");
try {
  (await import(workerData.module)).run(workerData);
} catch {
  Atomics.store(workerData.state, 0, ${FAILED});
  Atomics.notify(workerData.state, 0);
}
`);

/** What the warden is started with. */
export interface WardenSeed {
  readonly module: string;
  readonly state: Int32Array<SharedArrayBuffer>;
  /** Whom to wake when it is ready. */
  readonly domain: SharedArrayBuffer;
  readonly host: number;
}

let warden: NodeWorker | undefined;
let state: Int32Array<SharedArrayBuffer> | undefined;

/** Starts the warden if there is none, and hands over to it all that is to be watched. */
function summonWarden(): void {
  for (const domain of alone) {
    if (countSigned(domain) === 0) continue;
    alone.delete(domain);
    show(domain, "node");
  }
  if (state === undefined) startWarden(findThreads());
  handOver();
}

function startWarden(threads: Threads | undefined): void {
  state = new Int32Array(new SharedArrayBuffer(4));
  if (threads === undefined) return;
  const host = wards.values().next().value?.domain ?? watched.keys().next().value!;
  const seed: WardenSeed = {
    module: import.meta.resolve("./_warden.ts"),
    state,
    domain: host.memory,
    host: host.id,
  };
  parkAsync(state, 0, STARTING)?.then(handOver);
  try {
    warden = new threads.Worker(new URL(BOOTSTRAP), { workerData: seed });
    warden.on("error", () => {
      Atomics.store(state!, 0, FAILED);
      handOver();
    });
    warden.unref();
  } catch {
    // No thread is to be had: this loop goes on watching the ports. Nobody watches locks.
    Atomics.store(state, 0, FAILED);
  }
}

function handOver(): void {
  const isReady = warden !== undefined && Atomics.load(state!, 0) === READY;
  const isMissing = warden === undefined || Atomics.load(state!, 0) === FAILED;
  if (!isReady && !isMissing) return;
  for (const [domain, locks] of watched) {
    if (!hasNews(domain)) continue;
    told.add(domain);
    if (!locks) continue;
    if (isReady) {
      const order: Order = { domain: domain.memory, isLasting: threadKind() === "main" };
      warden!.postMessage(order);
    } else {
      appointWarden(domain, -1, false);
      // In a page: it never blocks, and nothing pins it.
      if (findThreads() === undefined) watchLocks(domain);
    }
  }
  for (const [id, { domain, parent, port, isHeard }] of wards) {
    if (isHeard) continue;
    if (isReady) {
      wards.delete(id);
      const order: Order = { adopt: id, parent, port, domain: domain.memory };
      warden!.postMessage(order, [port]);
    } else {
      listen(domain, { adopt: id, parent, port });
    }
  }
}

/** In the warden: does what it is told, for ever. */
export function obey(order: Order): void {
  const domain = observe(order.domain);
  if (order.adopt !== undefined) return listen(domain, order);
  watchLocks(domain);
  appointWarden(domain, findThreads()!.threadId, order.isLasting);
}

/** In the warden: takes a port from an agent that nobody of us started. */
export function obeyStranger(message: { readonly sabre?: Order }): void {
  const order = message?.sabre;
  if (order?.adopt === undefined) return;
  const { MessageChannel, receiveMessageOnPort } = findThreads()!;
  // A port that comes this way says nothing of its end before it has passed through one that does.
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(order, [order.port]);
  obey(receiveMessageOnPort(port2)!.message as Order);
  port1.close();
}

/** Whether there is anything that only this event loop watches, or should. */
function isNeeded(): boolean {
  if (wards.size > 0) return true;
  for (const domain of watched.keys()) if (hasNews(domain)) return true;
  return false;
}

/** Whether somebody else has given a sign that nobody watches. */
function hasNews(domain: Domain): boolean {
  return !told.has(domain) && countSigned(domain) > signedByThis(domain);
}

// What the event loop would do, were this thread not blocked.

/** Milliseconds that this thread was blocked before. Many short waits are as bad as a long one. */
let blocked = 0;

whileBlocked.counts = true;

whileBlocked.leave = (waited) => {
  blocked += waited;
  whileBlocked.counts = blocked < PATIENCE;
};

whileBlocked.look = (waited) => {
  if (unseen.size > 0) sendPorts();
  if (!isNeeded()) return Infinity;
  const left = PATIENCE - blocked - waited;
  if (left > 0) return left;
  summonWarden();
  return Infinity;
};
