/** The commands by name: the one list of what the command line can do. */
import type { CommandLoader } from './main.js';

export const commands: readonly CommandLoader[] = [
  {
    name: 'serve',
    description: 'serve raw images in place, a target each: no group, no other state',
    load: async () => (await import('./serve.js')).addServe,
  },
  {
    name: 'up',
    description: 'a group of members on this machine',
    load: async () => (await import('./up.js')).addUp,
  },
  {
    name: 'member',
    description: 'one member of a group',
    load: async () => (await import('./member.js')).addMember,
  },
  {
    name: 'volume',
    description: 'create, list, show, set or delete volumes',
    load: async () => (await import('./volume.js')).addVolume,
  },
  {
    name: 'move',
    description: 'move a volume, or a part of it, to another member while it is in use',
    load: async () => (await import('./move.js')).addMove,
  },
  {
    name: 'drain',
    description: 'move everything away from a member',
    load: async () => (await import('./drain.js')).addDrain,
  },
  {
    name: 'status',
    description: 'members, volumes and moves at a glance',
    load: async () => (await import('./status.js')).addStatus,
  },
  {
    name: 'sessions',
    description: 'who is logged in, and where',
    load: async () => (await import('./sessions.js')).addSessions,
  },
  {
    name: 'loads',
    description: 'what every member has to do, and which volumes are hot',
    load: async () => (await import('./loads.js')).addLoads,
  },
  {
    name: 'route',
    description: 'which member holds which extents of a volume',
    load: async () => (await import('./route.js')).addRoute,
  },
  {
    name: 'moves',
    description: 'moves under way and finished',
    load: async () => (await import('./moves.js')).addMoves,
  },
  {
    name: 'balance',
    description: 'how the group balances itself, shown or changed',
    load: async () => (await import('./balance.js')).addBalance,
  },
  {
    name: 'record',
    description: 'write down what initiators ask of the group, request by request',
    load: async () => (await import('./record.js')).addRecord,
  },
  {
    name: 'io',
    description: 'an initiator that writes and checks known patterns',
    load: async () => (await import('./io.js')).addIo,
  },
  {
    name: 'simulate',
    description: 'the balancer against synthetic or recorded load',
    load: async () => (await import('./simulate.js')).addSimulate,
  },
];
