/** What the management API asks of the group; the HTTP server knows nothing else of it. */
import type {
  BalanceView,
  CreateMove,
  CreateVolume,
  DecisionView,
  LoadsView,
  MemberView,
  MoveView,
  RouteView,
  SessionsView,
  SetBalance,
  SetVolume,
  StatusView,
  TraceView,
  VolumeView,
} from './api.js';

/** Every method rejects with a BlockferryError whose code decides the HTTP status. */
export interface ManageDesk {
  status(): Promise<StatusView>;
  members(): Promise<MemberView[]>;
  volumes(): Promise<VolumeView[]>;
  volume(name: string): Promise<VolumeView>;
  createVolume(wanted: CreateVolume): Promise<VolumeView>;
  setVolume(name: string, wanted: SetVolume): Promise<VolumeView>;
  deleteVolume(name: string): Promise<void>;
  route(volume: string): Promise<RouteView>;
  sessions(): Promise<SessionsView>;
  loads(): Promise<LoadsView>;
  moves(): Promise<MoveView[]>;
  move(id: string): Promise<MoveView>;
  createMove(wanted: CreateMove): Promise<MoveView>;
  cancelMove(id: string): Promise<MoveView>;
  trace(after: string | undefined): Promise<TraceView>;
  balance(): Promise<BalanceView>;
  setBalance(wanted: SetBalance): Promise<BalanceView>;
  decisions(): Promise<DecisionView[]>;
}
