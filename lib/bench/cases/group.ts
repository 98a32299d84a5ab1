/** What a group costs a volume that does not move: nothing, or a forward where its extents are elsewhere. */
import { join } from 'node:path';
import { iopsRound, type BenchCase, type BenchSettings } from '../case.js';
import { makeCachedImage } from '../images.js';
import { fillVolume, measureRandomReads } from '../load-client.js';
import type { Scope } from '../scope.js';
import { pinFolderInCache } from '../pin.js';
import { moveAndWait, startGroup, startServe, type Group } from '../servers.js';

const MEMBERS = 3;

/** A volume at m1, full of data. @returns its URL */
export async function makeVolume(
  group: Group,
  name: string,
  settings: BenchSettings,
  scope: Scope,
): Promise<string> {
  const { url } = await group.client.createVolume({ name, size: settings.imageBytes, home: 'm1' });
  await fillVolume(url, settings.imageBytes, scope);
  return url;
}

/** A volume whose home is m1, and whose extents are all at m2. @returns its URL */
async function makeElsewhere(group: Group, settings: BenchSettings, scope: Scope): Promise<string> {
  const volume = 'elsewhere';
  const url = await makeVolume(group, volume, settings, scope);
  const { extents } = await group.client.volume(volume);
  await moveAndWait(group.client, { volume, to: 'm2', extents: { first: 0, last: extents - 1 } });
  return url;
}

export const groupCases: readonly BenchCase[] = [
  {
    id: 'group-idle',
    title: '4 KiB random read, group of three, idle',
    against: 'serve of one image',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.95 } }],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeCachedImage(image, settings.imageBytes, scope);
      const [single = ''] = (await startServe([image], scope)).urls;
      const group = await startGroup(MEMBERS, settings.workFolder, scope);
      const url = await makeVolume(group, 'idle', settings, scope);
      await pinFolderInCache(group.folder, scope);
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(url, settings.seconds, scope),
          () => measureRandomReads(single, settings.seconds, scope),
        );
    },
  },
  {
    id: 'forwarded',
    title: '4 KiB random read, all extents elsewhere',
    against: 'extents at home',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.45 } }],
    async open(settings, scope) {
      const group = await startGroup(MEMBERS, settings.workFolder, scope);
      const here = await makeVolume(group, 'here', settings, scope);
      const elsewhere = await makeElsewhere(group, settings, scope);
      await pinFolderInCache(group.folder, scope);
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(elsewhere, settings.seconds, scope),
          () => measureRandomReads(here, settings.seconds, scope),
        );
    },
  },
  {
    id: 'peer-digests',
    title: '4 KiB random read, all extents elsewhere, digests between members',
    against: 'no digests',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio' }],
    async open(settings, scope) {
      const [withDigests = '', without = ''] = await Promise.all(
        [['--peer-digests'], []].map(async (args) => {
          const group = await startGroup(MEMBERS, settings.workFolder, scope, { args });
          const url = await makeElsewhere(group, settings, scope);
          await pinFolderInCache(group.folder, scope);
          return url;
        }),
      );
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(withDigests, settings.seconds, scope),
          () => measureRandomReads(without, settings.seconds, scope),
        );
    },
  },
];
