/** A CliDoor for tests: captured streams, an environment of its own, signals sent by hand. */
import type { CliDoor } from '../../lib/cli/door.js';
import { commands } from '../../lib/cli/commands.js';
import { runCli } from '../../lib/cli/main.js';

export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class FakeDoor implements CliDoor {
  out = '';
  err = '';
  readonly stdout = { write: (text: string) => void (this.out += text) };
  readonly stderr = { write: (text: string) => void (this.err += text) };
  readonly parent = undefined;
  private readonly listeners = new Set<(signal: string) => void>();

  constructor(
    readonly env: Readonly<Record<string, string | undefined>> = {},
    private readonly stdin = '',
  ) {}

  readStdin(bytesMax: number): Promise<Buffer | null> {
    const bytes = Buffer.from(this.stdin);
    return Promise.resolve(bytes.length > bytesMax ? null : bytes);
  }

  onStopSignal(heard: (signal: string) => void): () => void {
    this.listeners.add(heard);
    return () => this.listeners.delete(heard);
  }

  /** Whether the command would hear a signal now. */
  get isHeard(): boolean {
    return this.listeners.size > 0;
  }

  signal(name: string): void {
    for (const heard of [...this.listeners]) heard(name);
  }
}

/** Runs one command line in this process. */
export async function run(args: readonly string[], door = new FakeDoor()): Promise<CliRun> {
  const code = await runCli(args, door, commands, '1.2.3');
  return { code, stdout: door.out, stderr: door.err };
}
