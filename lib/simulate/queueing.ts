/**
 * Response times in a network of queues: who asks (customers, a volume's initiators each), where (stations, of each member
 * its storage and its event loop), and what comes of it. Pure; knows neither members nor volumes.
 *
 * A station serves one request at a time, first come first served. The wait that an arriving request finds is
 *
 *     W = Lq·s + λ·E[S²]/2        Lq = λ·W waiting before it, s each; then what is left of the one in service
 *
 * which for arrivals that depend on nothing is the formula of Pollaczek and Khinchine, W = λE[S²]/2/(1 − ρ). Customers are
 * not without number: a volume has so many requests outstanding at most, and a request does not wait for itself, so a
 * customer sees W without the (1/population) of its own part (the arrival theorem, as Schweitzer and Bard approximate it,
 * 1979). Requests a second follow from Little's law, X = N / (Z + R): Z, the think time, is what makes an open load of it
 * (N/Z a second are offered, and what does not get an answer is not asked again: at most N wait).
 *
 * The fixed point is found by Newton's method on the W of each station, all stations at once, damped.
 */
import { assert } from '../base/assert.js';

/** What one customer asks of one station. */
export interface Visit {
  readonly station: number;
  /** Of the customer's requests that come here; above 1 when each comes more than once. */
  readonly share: number;
  /** Milliseconds of service each time, the mean. */
  readonly serviceMs: number;
}

export interface Customer {
  /** Requests outstanding at most, above 0. */
  readonly population: number;
  /** Between an answer and the next request of the same place in the queue. */
  readonly thinkMs: number;
  /** Of each response, spent in nobody's way: networks, injected delays. */
  readonly delayMs: number;
  readonly visits: readonly Visit[];
}

export interface Station {
  /** Squared coefficient of variation of its service times: 0 always the same, 1 exponential. */
  readonly variation: number;
}

export interface Solution {
  /** Requests a millisecond, of each customer. */
  readonly perMs: Float64Array;
  /** From request to answer, the mean, of each customer. */
  readonly responseMs: Float64Array;
  /** Of each station, 0 to 1. */
  readonly utilisation: Float64Array;
  /** What a request waits before its service begins, the mean, at each station. */
  readonly waitMs: Float64Array;
}

const SWEEPS_MAX = 300;
/** Relative to the response time of a station. */
const TOLERANCE = 1e-4;
const DAMPING = 0.8;
/** Least slope that a step divides by: near saturation the curve is all but flat, and a step would go anywhere. */
const SLOPE_MIN = 0.02;
/** From this utilisation on a service more regular than exponential counts less and less as such, since with a finite
 *  population the queue hides it; otherwise more than all of the time would be used. */
const REGULAR_UTILISATION = 0.9;

/** @param startMs waits to begin with, of a solution nearby; it is overwritten and returned as `waitMs` */
export function solve(
  stations: readonly Station[],
  customers: readonly Customer[],
  startMs: Float64Array = new Float64Array(stations.length),
): Solution {
  assert(startMs.length === stations.length, 'one wait for each station');
  const network = new Network(stations, customers, startMs);
  for (let sweep = 0; sweep < SWEEPS_MAX; sweep += 1) {
    network.flow();
    if (network.adjust() < TOLERANCE) break;
  }
  network.flow();
  return network;
}

/** The state of the iteration, in flat arrays: a group of 1,000 members has 100,000 customers. */
class Network implements Solution {
  readonly perMs: Float64Array;
  readonly responseMs: Float64Array;
  readonly utilisation: Float64Array;
  /** The visits of customer c are those from first[c] up to first[c + 1]. */
  private readonly first: Uint32Array;
  private readonly station: Uint32Array;
  private readonly share: Float64Array;
  private readonly serviceMs: Float64Array;
  /** Of each visit: what it sees of the station's wait. */
  private readonly seen: Float64Array;
  /** Per station: utilisation before, visits a millisecond, Σ X·s², and the load that waits with its derivative by W. */
  private readonly before: Float64Array;
  private readonly rate: Float64Array;
  private readonly squares: Float64Array;
  private readonly felt: Float64Array;
  private readonly slope: Float64Array;

  constructor(
    private readonly stations: readonly Station[],
    private readonly customers: readonly Customer[],
    readonly waitMs: Float64Array,
  ) {
    const visits = customers.flatMap((customer) => customer.visits);
    this.first = new Uint32Array(customers.length + 1);
    customers.forEach(
      (customer, c) => (this.first[c + 1] = (this.first[c] as number) + customer.visits.length),
    );
    this.station = Uint32Array.from(visits, ({ station }) => station);
    this.share = Float64Array.from(visits, ({ share }) => share);
    this.serviceMs = Float64Array.from(visits, ({ serviceMs }) => serviceMs);
    this.seen = new Float64Array(visits.length);
    this.perMs = new Float64Array(customers.length);
    this.responseMs = new Float64Array(customers.length);
    const perStation = (): Float64Array => new Float64Array(stations.length);
    this.utilisation = perStation();
    this.before = perStation();
    this.rate = perStation();
    this.squares = perStation();
    this.felt = perStation();
    this.slope = perStation();
  }

  /** Rates and response times at the present waits, and the load of every station that follows from them. */
  flow(): void {
    const { utilisation, before, rate, squares, felt, slope } = this;
    before.set(utilisation);
    for (const sums of [utilisation, rate, squares, felt, slope]) sums.fill(0);
    for (let c = 0; c < this.customers.length; c += 1) this.flowOf(c);
  }

  private flowOf(c: number): void {
    const {
      first,
      station,
      share,
      serviceMs,
      seen,
      waitMs,
      utilisation,
      before,
      rate,
      squares,
      felt,
      slope,
    } = this;
    const { population, thinkMs, delayMs } = this.customers[c] as Customer;
    const [begin, end] = [first[c]!, first[c + 1]!];
    const last = this.perMs[c]!;
    let response = delayMs;
    for (let v = begin; v < end; v += 1) {
      const s = station[v]!;
      seen[v] = seenShare(last * share[v]! * serviceMs[v]!, before[s]!, population);
      response += share[v]! * (serviceMs[v]! + seen[v]! * waitMs[s]!);
    }
    const x = population / (thinkMs + response);
    this.perMs[c] = x;
    this.responseMs[c] = response;
    for (let v = begin; v < end; v += 1) {
      const s = station[v]!;
      const visitsPerMs = x * share[v]!;
      const busy = visitsPerMs * serviceMs[v]!;
      utilisation[s]! += busy;
      rate[s]! += visitsPerMs;
      squares[s]! += busy * serviceMs[v]!;
      felt[s]! += visitsPerMs * seen[v]!;
      // dX/dW = -X² · share · seen / population
      const fewer = (visitsPerMs * seen[v]! * waitMs[s]!) / population;
      slope[s]! += visitsPerMs * seen[v]! * (1 - Math.min(fewer, 1));
    }
  }

  /** One step of Newton's at every station; returns the largest relative change. */
  adjust(): number {
    const { stations, utilisation, rate, squares, felt, slope, waitMs } = this;
    let largest = 0;
    for (let s = 0; s < stations.length; s += 1) {
      const visits = rate[s] as number;
      const wait = waitMs[s] as number;
      if (visits === 0) {
        waitMs[s] = 0;
        continue;
      }
      const busy = utilisation[s] as number;
      const service = busy / visits;
      const residual =
        ((squares[s] as number) * (1 + variationAt((stations[s] as Station).variation, busy))) / 2;
      let lack = service * (felt[s] as number) * wait + residual - wait;
      if (busy > 1) lack = Math.max(lack, (wait + service) * (busy - 1));
      const step = (DAMPING * lack) / Math.max(SLOPE_MIN, 1 - service * (slope[s] as number));
      const next = Math.min(Math.max(wait + step, wait / 4), 4 * wait + 2 * service + residual);
      waitMs[s] = next;
      largest = Math.max(largest, Math.abs(next - wait) / (wait + service));
    }
    return largest;
  }
}

/** What a request sees of a station's wait: all but the part that its own place in the queue would make. */
function seenShare(own: number, all: number, population: number): number {
  return all > 0 ? 1 - Math.min(own / all, 1) / Math.max(population, 1) : 1;
}

function variationAt(variation: number, busy: number): number {
  if (variation >= 1 || busy <= REGULAR_UTILISATION) return variation;
  const hidden = Math.min((busy - REGULAR_UTILISATION) / (1 - REGULAR_UTILISATION), 1);
  return variation + (1 - variation) * hidden;
}
