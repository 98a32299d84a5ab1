/**
 * Hand-overs of a loaded volume between the members of a real group, one after the other: how long the slowest command
 * of each took, how often anybody was redirected, and whether every block is as it was acknowledged. Starts and ends
 * everything it needs; judges nothing.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { BlockferryError } from '../../base/errors.js';
import { moveAndWait, secondsOf, startGroup, type Group } from '../../bench/servers.js';
import { Scope } from '../../bench/scope.js';
import { LoadedClient, type LoadedBy, type LoadedMark, type LoadedVerdict } from '../loaded-client.js';

export interface HandoverOptions {
  readonly handovers: number;
  readonly sizeBytes: number;
  readonly queueDepth: number;
  /** Holds the groups' data. */
  readonly workFolder: string;
}

/** One hand-over as the initiator saw it. */
export interface Handover extends LoadedMark {
  readonly to: string;
  readonly moveSeconds: number;
  /** As the group counted. */
  readonly sessions: number;
}

export interface HandoverRun {
  readonly by: LoadedBy;
  readonly handovers: readonly Handover[];
  readonly verdict: LoadedVerdict;
  /** Members that died meanwhile. */
  readonly dead: readonly string[];
}

const MEMBERS = 3;
const READ_PERCENT = 70;
const VOLUME = 'ferried';
const EXTENT_BYTES = 1024 * 1024;
/** Between two hand-overs, so that each starts from a load at full speed. */
const WARM_UP_MS = 150;
/** A session that is not back by then has not been handed over. */
const BACK_MS_MAX = 10_000;
const POLL_MS = 10;

export async function runHandovers(
  by: LoadedBy,
  options: HandoverOptions,
  say: (text: string) => void,
): Promise<HandoverRun> {
  const scope = new Scope();
  try {
    const group = await startGroup(MEMBERS, options.workFolder, scope);
    const wanted = { name: VOLUME, size: options.sizeBytes, home: 'm1', extentSize: EXTENT_BYTES };
    const { url } = await group.client.createVolume(wanted);
    const order = { by, url, seed: 11, queueDepth: options.queueDepth, readPercent: READ_PERCENT };
    const client = await LoadedClient.start(order, scope);
    const handovers: Handover[] = [];
    for (let i = 1; i <= options.handovers; i++) {
      await client.renew();
      await sleep(systemClock, WARM_UP_MS);
      handovers.push(await handOver(group, client, `m${(i % MEMBERS) + 1}`));
      say(`${by}: ${i} of ${options.handovers}, ${Math.round(handovers.at(-1)?.longestMs ?? 0)} ms`);
    }
    const verdict = await client.stop();
    return { by, handovers, verdict, dead: group.dead() };
  } finally {
    const faults = await scope.close();
    if (faults.length > 0) say(`did not end well: ${faults.join('; ')}`);
  }
}

async function handOver(group: Group, client: LoadedClient, to: string): Promise<Handover> {
  const before = await client.mark();
  const move = await moveAndWait(group.client, { volume: VOLUME, to });
  const marks = [await client.mark()];
  const deadlineMs = systemClock.nowMs() + BACK_MS_MAX;
  // Its commands of before are answered a moment after its login: the window ends once new ones were, too.
  const isBack = (): boolean =>
    sum(marks, 'recoveries') > 0 && (marks.at(-1)?.ops ?? 0) > (marks.at(-2)?.ops ?? Infinity);
  while (!isBack()) {
    if (systemClock.nowMs() > deadlineMs)
      throw new BlockferryError('IO', `the initiator did not follow to ${to}`);
    await sleep(systemClock, POLL_MS);
    marks.push(await client.mark());
  }
  const last = marks.at(-1) ?? before;
  return {
    ...{ to, moveSeconds: secondsOf(move), sessions: move.sessions },
    longestMs: Math.max(...marks.map((mark) => mark.longestMs)),
    downMs: Math.max(...marks.map((mark) => mark.downMs)),
    redirects: sum(marks, 'redirects'),
    recoveries: sum(marks, 'recoveries'),
    ops: last.ops - before.ops,
    errors: last.errors - before.errors,
  };
}

function sum(marks: readonly LoadedMark[], field: 'redirects' | 'recoveries'): number {
  return marks.reduce((total, mark) => total + mark[field], 0);
}
