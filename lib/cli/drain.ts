/** blockferry drain MEMBER: one move after the other until the member holds nothing and is nobody's home. */
import type { Command } from 'commander';
import { z } from 'zod';
import { sleep, systemClock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import type { CreateMove, MoveView, StatusView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import { planDrain } from '../manage/drain-plan.js';
import type { CliDoor } from './door.js';
import { followCreation } from './follow-creation.js';
import { describeReport, moveReport, refuseUnlessDone, watchMove, type MoveReport } from './follow-move.js';
import { manageOptions, memberName, parseArgument, parseOptions, size, withManage } from './options.js';
import { emit, plural } from './output.js';

/** Rounds in a row that moved nothing, or after which somebody brings something there: that may go on for ever. */
const OVERTAKEN_ROUNDS_MAX = 8;
const OVERTAKEN_PAUSE_MS = 500;
/** What a move is refused with where the group has changed since it was planned: the next plan knows. */
const OVERTAKEN: ReadonlySet<string> = new Set(['BUSY', 'STALE', 'CONFLICT', 'INVALID', 'NOT_FOUND']);

const Options = z.object({ ...manageOptions, rate: size.optional() });

export function addDrain(program: Command, door: CliDoor): void {
  withManage(program.command('drain <member>').description('move everything away from a member'), door)
    .option('--rate <bytes>', 'copy at most this much a second, such as 200M')
    .action(async (member: string, raw: Record<string, unknown>) => {
      const { json, manage, rate } = parseOptions(Options, raw);
      const name = parseArgument(memberName, 'member', member);
      const moves = await new Drain(door, new ManageClient(manage), name, rate, json).run();
      emit(door, json, { member: name, moves }, () => `${name} is empty: ${plural(moves.length, 'move')}`);
    });
}

class Drain {
  private readonly reports: MoveReport[] = [];
  /** Destinations of moves that have failed: the others are tried first. */
  private readonly failing = new Set<string>();
  /** Volumes that others have moved, or were moving, when they were to go; of the round under way. */
  private readonly overtaken = new Set<string>();
  /** Why what is left is there still. */
  private trouble = '';

  constructor(
    private readonly door: CliDoor,
    private readonly client: ManageClient,
    private readonly member: string,
    private readonly rate: number | undefined,
    private readonly json: boolean,
  ) {}

  /** Plans again after each round, until nothing is left: volumes move meanwhile by others' wishes, and moves fail. */
  async run(): Promise<MoveReport[]> {
    const { reports, failing, overtaken } = this;
    let overtakenRounds = 0;
    for (;;) {
      const status = await this.client.status();
      const wanted = await this.plan(status);
      const coming = status.moves.filter(({ to }) => to === this.member);
      if (wanted.length === 0 && coming.length === 0) return reports;
      const before = { moves: reports.length, failing: failing.size };
      await this.round(wanted, coming);
      const hasMoved = reports.length > before.moves;
      if (hasMoved && coming.length === 0) overtakenRounds = 0;
      else if (failing.size === before.failing) {
        overtakenRounds += 1;
        if (overtaken.size === 0 || overtakenRounds > OVERTAKEN_ROUNDS_MAX)
          throw this.unfinished([...wanted, ...coming]);
        if (!hasMoved) await sleep(systemClock, OVERTAKEN_PAUSE_MS);
      }
    }
  }

  private async plan({ members, volumes }: StatusView): Promise<CreateMove[]> {
    const { client, member, failing } = this;
    if (!members.some((known) => known.name === member)) {
      const names = members.map((known) => known.name).join(', ');
      throw new BlockferryError('NOT_FOUND', `there is no member ${member}`, `the group has ${names}`);
    }
    const isToBeEmpty = await emptied(client);
    const touched = volumes.filter((volume) => (volume.holders[member] ?? 0) > 0);
    const routes = await Promise.all(touched.map((volume) => client.route(volume.name)));
    const byVolume = new Map(routes.map((route) => [route.volume, route]));
    return planDrain(member, members, volumes, byVolume, (name) => isToBeEmpty(name) || failing.has(name));
  }

  /** What can go goes first; then what others do with the rest is waited for. */
  private async round(wanted: readonly CreateMove[], coming: readonly MoveView[]): Promise<void> {
    this.overtaken.clear();
    for (const each of wanted) await this.move(each);
    for (const { volume } of coming) {
      this.overtaken.add(volume);
      this.trouble = `somebody moves ${volume} there`;
    }
    for (const volume of this.overtaken) await this.whileBusy(volume);
  }

  private async move(wanted: CreateMove): Promise<void> {
    const { door, client, json, rate } = this;
    const { volume, to } = wanted;
    let begun;
    try {
      begun = await client.createMove({ ...wanted, rate });
    } catch (error) {
      if (!(error instanceof BlockferryError) || !OVERTAKEN.has(error.code)) throw error;
      this.overtaken.add(volume);
      this.trouble = error.message;
      return;
    }
    const ended = await watchMove(door, client, begun, json);
    if (ended.state === 'failed') {
      this.failing.add(to);
      this.trouble = `the move of ${volume} to ${to} failed: ${ended.error || 'no reason given'}`;
      return;
    }
    const report = moveReport(refuseUnlessDone(ended));
    this.reports.push(report);
    if (!json) door.stdout.write(`${describeReport(report)}\n`);
  }

  /** Until nobody moves the volume, or allocates it. */
  private async whileBusy(name: string): Promise<void> {
    const { door, client, json } = this;
    try {
      const volume = await client.volume(name);
      if (volume.moving !== null) await watchMove(door, client, await client.move(volume.moving), json);
      else if (volume.allocating !== null) await followCreation(door, client, volume, json);
    } catch (error) {
      // It is gone, or the move that is in its way cannot be read: the next plan sees.
      if (!(error instanceof BlockferryError) || !OVERTAKEN.has(error.code)) throw error;
    }
  }

  private unfinished(left: readonly { readonly volume: string }[]): BlockferryError {
    const names = [...new Set(left.map(({ volume }) => volume))].join(', ');
    return new BlockferryError(
      'IO',
      `${this.member} is not empty, it still has ${names}: ${this.trouble}`,
      `mend that, or keep others from it with 'blockferry balance --weight ${this.member}=0'; then drain it again`,
    );
  }
}

/** Who has the weight 0, as far as that can be read. */
async function emptied(client: ManageClient): Promise<(member: string) => boolean> {
  try {
    const { members } = await client.balance();
    return (member) => members[member]?.weight === 0;
  } catch (error) {
    if (error instanceof BlockferryError && error.code === 'INVALID') return () => false;
    throw error;
  }
}
