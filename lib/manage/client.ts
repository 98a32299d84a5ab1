/** A typed client of the management API, for the command line and for programs. Believes no answer it has not parsed. */
import { z } from 'zod';
import { systemClock } from '../base/clock.js';
import { BlockferryError, type ErrorCode } from '../base/errors.js';
import {
  BalanceView,
  DecisionView,
  ErrorAnswer,
  LoadsView,
  MemberView,
  MoveView,
  RouteView,
  SessionsView,
  StatusView,
  TraceView,
  VolumeView,
  type CreateMove,
  type CreateVolume,
  type SetBalance,
  type SetVolume,
} from './api.js';
import { Exchanges, type Answer } from './exchange.js';

export class ManageClient {
  private readonly exchanges: Exchanges;

  /** @param url of the API, such as http://127.0.0.1:3280 */
  constructor(
    readonly url: string,
    clock = systemClock,
  ) {
    this.exchanges = new Exchanges(clock);
  }

  status(): Promise<StatusView> {
    return this.request('GET', '/v1/status', StatusView);
  }
  members(): Promise<MemberView[]> {
    return this.request('GET', '/v1/members', z.array(MemberView));
  }
  sessions(): Promise<SessionsView> {
    return this.request('GET', '/v1/sessions', SessionsView);
  }
  loads(): Promise<LoadsView> {
    return this.request('GET', '/v1/loads', LoadsView);
  }
  volumes(): Promise<VolumeView[]> {
    return this.request('GET', '/v1/volumes', z.array(VolumeView));
  }
  volume(name: string): Promise<VolumeView> {
    return this.request('GET', `/v1/volumes/${encodeURIComponent(name)}`, VolumeView);
  }
  createVolume(wanted: CreateVolume): Promise<VolumeView> {
    return this.request('POST', '/v1/volumes', VolumeView, wanted);
  }
  setVolume(name: string, wanted: SetVolume): Promise<VolumeView> {
    return this.request('PATCH', `/v1/volumes/${encodeURIComponent(name)}`, VolumeView, wanted);
  }
  async deleteVolume(name: string): Promise<void> {
    await this.request('DELETE', `/v1/volumes/${encodeURIComponent(name)}`, z.unknown());
  }
  route(volume: string): Promise<RouteView> {
    return this.request('GET', `/v1/volumes/${encodeURIComponent(volume)}/route`, RouteView);
  }
  moves(): Promise<MoveView[]> {
    return this.request('GET', '/v1/moves', z.array(MoveView));
  }
  move(id: string): Promise<MoveView> {
    return this.request('GET', `/v1/moves/${encodeURIComponent(id)}`, MoveView);
  }
  createMove(wanted: CreateMove): Promise<MoveView> {
    return this.request('POST', '/v1/moves', MoveView, wanted);
  }
  cancelMove(id: string): Promise<MoveView> {
    return this.request('DELETE', `/v1/moves/${encodeURIComponent(id)}`, MoveView);
  }
  /** @param after `next` of the last answer; absent: from now on */
  trace(after?: string): Promise<TraceView> {
    const query = after === undefined ? '' : `?after=${encodeURIComponent(after)}`;
    return this.request('GET', `/v1/trace${query}`, TraceView);
  }
  balance(): Promise<BalanceView> {
    return this.request('GET', '/v1/balance', BalanceView);
  }
  setBalance(wanted: SetBalance): Promise<BalanceView> {
    return this.request('PATCH', '/v1/balance', BalanceView, wanted);
  }
  decisions(): Promise<DecisionView[]> {
    return this.request('GET', '/v1/decisions', z.array(DecisionView));
  }

  /** Gives up what has not been answered: it is CANCELLED, and so is what is asked later. */
  close(): void {
    this.exchanges.close();
  }

  private async request<T>(method: string, path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const { status, text } = await this.reach(method, path, body);
    const json = this.parse(status, text);
    if (status < 200 || status > 299) throw this.errorOf(json, status);
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw this.strange(`${issue?.path.join('.')} ${issue?.message}`);
  }

  private async reach(method: string, path: string, body?: object): Promise<Answer> {
    try {
      return await this.exchanges.ask(method, new URL(path, this.url), body && JSON.stringify(body));
    } catch (error) {
      if (!(error instanceof BlockferryError)) throw error;
      if (error.code === 'PROTOCOL') throw this.strange(error.message, error);
      if (error.code !== 'UNAVAILABLE') throw error;
      const hint = "start one with 'blockferry up', or name another with --manage";
      const what = `no group at ${this.url}: ${error.message}`;
      throw new BlockferryError('UNAVAILABLE', what, hint, { cause: error });
    }
  }

  private parse(status: number, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.strange(`status ${status}, not JSON`);
    }
  }

  private errorOf(json: unknown, status: number): BlockferryError {
    const parsed = ErrorAnswer.safeParse(json);
    if (!parsed.success) return this.strange(`status ${status} without an error`);
    const { code, message, hint } = parsed.data.error;
    return new BlockferryError(code as ErrorCode, message, hint);
  }

  private strange(detail: string, cause?: unknown): BlockferryError {
    const what = `${this.url} does not answer like a Blockferry group (${detail})`;
    const hint = 'name the management API of a group with --manage';
    return new BlockferryError('PROTOCOL', what, hint, { cause });
  }
}
