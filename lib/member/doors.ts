/**
 * The doors of a member to the world outside, besides time and chance: sockets, files, the group store, the process
 * table. Handed in where a member is started, so that several members run in one process over worlds of their own.
 */
import { isProcessGone, readBootId } from '../base/processes.js';
import { tcp, type Net } from '../base/net.js';
import { openStore } from '../group/open-store.js';
import { systemDoors, type StorageDoors } from '../storage/doors.js';
import { LoopPause } from './loop-pause.js';

export type LoopWatch = Pick<LoopPause, 'idleMs' | 'processorMs' | 'takeDelayMs' | 'close'>;

export interface MemberDoors {
  readonly net: Net;
  readonly storage: StorageDoors;
  readonly openStore: typeof openStore;
  /** This process's number. */
  readonly pid: number;
  /** Which boot of this machine it is; '' where nobody knows. */
  readonly bootId: string;
  /** Whether a process of this machine has ended. */
  isGone(pid: number): boolean;
  /**
   * Begins to watch the event loop.
   * @param spareMs how long it has turned for nothing, ever: counts as idle
   */
  watchLoop(spareMs: () => number): LoopWatch;
}

export function memberDoors(): MemberDoors {
  return {
    net: tcp,
    storage: systemDoors(),
    openStore,
    pid: process.pid,
    bootId: readBootId(),
    isGone: isProcessGone,
    watchLoop: (spareMs) => new LoopPause(spareMs),
  };
}
