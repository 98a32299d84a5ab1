/** blockferry loads: what every member has to do, and the volumes and extents that make it so. */
import type { Command } from 'commander';
import { z } from 'zod';
import { formatSize } from '../base/units.js';
import type { VolumeLoad } from '../load/vector.js';
import type { LoadsView, MemberLoadView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { flag, manageOptions, parseOptions, withManage } from './options.js';
import { emit, formatMs, table } from './output.js';
import { watch } from './watch.js';

const Options = z.object({ ...manageOptions, watch: flag });
/** The hottest volumes, and of each the hottest extents, that people are shown; --json has all of them. */
const VOLUMES_SHOWN = 10;
const EXTENTS_SHOWN = 4;

export function addLoads(program: Command, door: CliDoor): void {
  withManage(
    program.command('loads').description('what every member has to do, and which volumes are hot'),
    door,
  )
    .option('--watch', 'again every second, until Ctrl-C (with --json: a document a line)')
    .action(async (raw: Record<string, unknown>) => {
      const { json, manage, watch: isWatched } = parseOptions(Options, raw);
      const client = new ManageClient(manage);
      if (isWatched) await watch(door, json, client, () => client.loads(), describeLoads);
      else emit(door, json, await client.loads(), describeLoads);
    });
}

export function describeLoads({ from, members }: LoadsView): string {
  if (from === null) return 'no member answers';
  const parts = [memberTable(members), volumeTable(members)];
  return parts.filter((part) => part !== '').join('\n\n');
}

function memberTable(members: readonly MemberLoadView[]): string {
  return table(
    [
      ...['member', 'age', 'share', 'x fair', 'reads/s', 'writes/s', 'read/s', 'written/s', 'mean', 'p99'],
      ...['queue', 'cpu', 'loop', 'sessions', 'free'],
    ],
    members.map(memberRow),
  );
}

function memberRow({ name, vector, ageMs, stale, share, overFair }: MemberLoadView): string[] {
  if (vector === null) return [name, 'not known yet'];
  const { server, storage } = vector;
  return [
    name,
    `${formatMs(ageMs ?? 0)}${stale ? ' (stale)' : ''}`,
    share === null ? '-' : percent(share),
    overFair === null ? '-' : overFair.toFixed(2),
    whole(storage.readsPerSecond),
    whole(storage.writesPerSecond),
    formatSize(Math.round(storage.readBytesPerSecond)),
    formatSize(Math.round(storage.writeBytesPerSecond)),
    formatMs(storage.serviceMs.mean),
    formatMs(storage.serviceMs.p99),
    storage.queueDepth.toFixed(1),
    percent(server.processors),
    percent(server.loopBusy),
    String(server.sessions),
    formatSize(storage.freeBytes),
  ];
}

/** Of all members, the busiest first. */
function volumeTable(members: readonly MemberLoadView[]): string {
  const all = members.flatMap(({ name, vector }) =>
    (vector?.volumes ?? []).map((volume) => ({ name, volume })),
  );
  if (all.length === 0) return '';
  all.sort((a, b) => requestsOf(b.volume) - requestsOf(a.volume));
  return table(
    ['volume', 'at', 'requests/s', 'reads', 'size', 'pattern', 'mean', 'initiators', 'hot extents'],
    all.slice(0, VOLUMES_SHOWN).map(({ name, volume }) => volumeRow(name, volume)),
  );
}

function volumeRow(member: string, volume: VolumeLoad): string[] {
  const { kind, readShare, requestBytes, burstiness, initiators } = volume.pattern;
  const hot = volume.hot.slice(0, EXTENTS_SHOWN).map(([extent, rate]) => `${extent} (${whole(rate)}/s)`);
  return [
    volume.volume,
    member,
    whole(requestsOf(volume)),
    percent(readShare),
    formatSize(Math.round(requestBytes)),
    burstiness > 1 ? `${kind}, bursty` : kind,
    formatMs(volume.serviceMs),
    String(initiators),
    hot.join(' '),
  ];
}

function requestsOf({ readsPerSecond, writesPerSecond }: VolumeLoad): number {
  return readsPerSecond + writesPerSecond;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

function whole(rate: number): string {
  return rate >= 10 || rate === 0 ? String(Math.round(rate)) : rate.toFixed(1);
}
