/**
 * A member as a queue: what a request asks of it, how busy that makes it, and how long a request then takes.
 *
 * Requests pass the member's loop and its storage, each one server that works on one request at a time. Storage that works
 * on several at once is a faster one: its demand is worked out from what was measured under load, not from one request.
 */
import { requestsPerSecond, type LoadVector } from '../load/vector.js';

/** What one request asks of each resource of a member, in milliseconds of its time. */
export interface Demand {
  readonly storageMs: number;
  readonly loopMs: number;
}

/** Beyond this a queue has no end; the time is taken to grow in proportion, so that worse stays worse, but finite. */
const UTILISATION_MAX = 0.98;
/** Requests in a window before what they took says something about the member. */
const SAMPLE_REQUESTS = 20;
/** A resource less busy than this is busy with other things than requests, or slow since it slept in between: what it
 *  takes for one is no more than in the rest of the group. */
const LIGHT_UTILISATION = 0.1;

/** How busy the busiest resource is at so many requests a second; above 1 it cannot follow. */
export function utilisationAt(demand: Demand, requests: number): number {
  return (requests * Math.max(demand.storageMs, demand.loopMs)) / 1000;
}

/** The mean time of a request at so many a second, in milliseconds: through the loop and the storage. */
export function responseMs(demand: Demand, requests: number): number {
  return timeInQueueMs(demand.storageMs, requests) + timeInQueueMs(demand.loopMs, requests);
}

/** M/M/1: s / (1 - rho). */
export function timeInQueueMs(demandMs: number, requests: number): number {
  const utilisation = (requests * demandMs) / 1000;
  if (utilisation <= UTILISATION_MAX) return demandMs / (1 - utilisation);
  return ((demandMs / (1 - UTILISATION_MAX)) * utilisation) / UTILISATION_MAX;
}

/** What requests ask of each member, in the order of `vectors`. Who served too few to tell is taken for an average one. */
export function demandsOf(vectors: readonly LoadVector[]): Demand[] {
  const measured = vectors.map(measuredDemand);
  const mean = meanDemand(vectors, measured);
  return vectors.map((vector, index) => {
    const own = measured[index];
    if (own === null || own === undefined) return mean;
    const requests = requestsPerSecond(vector);
    return {
      storageMs: trusted(own.storageMs, requests, mean.storageMs),
      loopMs: trusted(own.loopMs, requests, mean.loopMs),
    };
  });
}

/** Slower than any cache: it is the disk, however little it has to do. */
const SLOW_MS = 10;

function trusted(ownMs: number, requests: number, meanMs: number): number {
  if (ownMs > SLOW_MS) return ownMs;
  return (ownMs * requests) / 1000 < LIGHT_UTILISATION ? Math.min(ownMs, meanMs) : ownMs;
}

/** From W = s / (1 - lambda s), the time that was measured: s = W / (1 + lambda W). Null: too few requests to tell. */
function measuredDemand(vector: LoadVector): Demand | null {
  const requests = requestsPerSecond(vector);
  if (requests === 0 || (requests * vector.windowMs) / 1000 < SAMPLE_REQUESTS) return null;
  const servedMs = vector.storage.serviceMs.mean;
  return {
    storageMs: servedMs / (1 + (requests * servedMs) / 1000),
    loopMs: (vector.server.loopBusy * 1000) / requests,
  };
}

/** Over all requests of those that served enough. */
function meanDemand(vectors: readonly LoadVector[], measured: readonly (Demand | null)[]): Demand {
  let [requests, storageMs, loopMs] = [0, 0, 0];
  measured.forEach((demand, index) => {
    if (demand === null) return;
    const own = requestsPerSecond(vectors[index] as LoadVector);
    requests += own;
    storageMs += own * demand.storageMs;
    loopMs += own * demand.loopMs;
  });
  return requests === 0
    ? { storageMs: 0, loopMs: 0 }
    : { storageMs: storageMs / requests, loopMs: loopMs / requests };
}
