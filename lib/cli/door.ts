/**
 * What the command line touches of its process: streams, environment, signals. Handed in, so that tests run commands
 * in their own process. Holds no command's logic.
 */
import { readStdinAtMost } from '../base/read-at-most.js';

/** A stream that text goes to; `isTTY` where a person reads it. */
export interface TextSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export interface CliDoor {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of standard input; null: it is longer. Rejects with what the system says. */
  readStdin(bytesMax: number): Promise<Buffer | null>;
  /** Calls back at SIGINT or SIGTERM, every time; returns how to stop listening. */
  onStopSignal(heard: (signal: string) => void): () => void;
  /** The process that started this one, when it watches over it: tell it something; hear that it ended the channel. */
  readonly parent: { send(message: object): void; onGone(gone: () => void): void } | undefined;
}

export const processDoor: CliDoor = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  readStdin: readStdinAtMost,
  onStopSignal: (heard) => {
    process.on('SIGINT', heard);
    process.on('SIGTERM', heard);
    return () => {
      process.off('SIGINT', heard);
      process.off('SIGTERM', heard);
    };
  },
  parent: process.send === undefined ? undefined : ipcParent(),
};

function ipcParent(): NonNullable<CliDoor['parent']> {
  return {
    send: (message) => {
      // One that is gone by then is nobody's error: onGone says so.
      if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
    },
    onGone: (gone) => {
      if (!process.connected) return gone();
      process.once('disconnect', gone);
      // The channel alone must not keep a process alive whose work is done.
      process.channel?.unref();
    },
  };
}

/**
 * Resolves at the first stop signal; in a process that another one watches over, when the channel to it ends and not
 * before. SIGINT and SIGTERM often go to a whole process group (Ctrl-C, timeout, systemd): the watching process stops
 * its children in order, and one that went by itself would look like one that died.
 */
export function untilStopped(door: CliDoor): Promise<string> {
  return new Promise((resolve) => {
    const { parent } = door;
    // Listening is what keeps a signal from ending the process.
    door.onStopSignal((signal) => {
      if (parent === undefined) resolve(signal);
    });
    parent?.onGone(() => resolve('the watching process asks, or is gone'));
  });
}
