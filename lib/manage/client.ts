/** A typed client of the management API, for the command line and for programs. Believes no answer it has not parsed. */
import { z } from 'zod';
import { BlockferryError, type ErrorCode } from '../base/errors.js';
import { MANAGE_REQUEST_DEADLINE_MS } from '../base/limits.js';
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

export class ManageClient {
  /** @param url of the API, such as http://127.0.0.1:3280 */
  constructor(readonly url: string) {}

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

  private async request<T>(method: string, path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const response = await this.reach(method, path, body);
    const json = await this.readJson(response);
    if (!response.ok) throw this.errorOf(json, response.status);
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw this.strange(`${issue?.path.join('.')} ${issue?.message}`);
  }

  private async reach(method: string, path: string, body?: object): Promise<Response> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(MANAGE_REQUEST_DEADLINE_MS) };
    if (body !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(body);
    }
    try {
      return await fetch(new URL(path, this.url), init);
    } catch (cause) {
      const error = cause as Error;
      const why = error.name === 'TimeoutError' ? 'does not answer in time' : 'nobody answers there';
      throw new BlockferryError(
        'UNAVAILABLE',
        `no group at ${this.url}: ${why}`,
        isBadPort(error)
          ? "start one with 'blockferry up' at another --manage-port: HTTP clients refuse this one"
          : "start one with 'blockferry up', or name another with --manage",
        { cause },
      );
    }
  }

  private async readJson(response: Response): Promise<unknown> {
    try {
      return await response.json();
    } catch {
      throw this.strange(`status ${response.status}, not JSON`);
    }
  }

  private errorOf(json: unknown, status: number): BlockferryError {
    const parsed = ErrorAnswer.safeParse(json);
    if (!parsed.success) return this.strange(`status ${status} without an error`);
    const { code, message, hint } = parsed.data.error;
    return new BlockferryError(code as ErrorCode, message, hint);
  }

  private strange(detail: string): BlockferryError {
    return new BlockferryError('PROTOCOL', `${this.url} does not answer like a Blockferry group (${detail})`);
  }
}

/** The Fetch standard keeps clients from the ports of some other protocols, whoever listens there. */
function isBadPort({ cause }: Error): boolean {
  return cause instanceof Error && cause.message === 'bad port';
}
