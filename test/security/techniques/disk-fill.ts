import { statfsSync } from 'node:fs';
import { expect } from 'vitest';
import { inPython } from '../in-python.ts';
import { lighter, needing, type Technique } from '../technique.ts';

const MiB = 1024 * 1024;
const SAME = 'the two large places are bounded like the two small ones, and what bounds each is read in another case';

/** Until an error: bytes in one file, then empty files, then directories; each time all is removed. */
const fill = `
def until_error(step):
    count = 0
    while count < 2_000_000:
        result = attempt(lambda: step(count))
        if result != 'ok': return count, result
        count += 1
    return count, 'never'
chunk = bytes(1 << 20)
def fill(place):
    with open(f'{place}/big', 'wb', buffering=0) as big:
        size, why = until_error(lambda n: big.write(chunk))
        size = os.fstat(big.fileno()).st_size
    os.unlink(f'{place}/big')
    os.mkdir(f'{place}/many')
    inodes, why_not = until_error(lambda n: os.close(os.open(f'{place}/many/{n}', os.O_CREAT | os.O_WRONLY)))
    for n in range(inodes): os.unlink(f'{place}/many/{n}')
    os.rmdir(f'{place}/many')
    return size, why, inodes, why_not
`;

export const technique: Technique = {
  name: 'disk-fill',
  attacks: ['root.host', 'mount.tmpfs', 'limits.fileBytes'],
  cases: {
    'no place of the sandbox takes more than its share of memory, in bytes or in inodes': lighter(
      SAME,
      async (bench, share) => {
        const places = ["('/mnt/own', 16)", "('/dev/shm', 64)", "('/tmp', 512)", "(os.environ['HOME'], 512)"];
        const tried = places.slice(0, Math.max(2, share(places.length)));
        const script = `${fill}
for place, bound in [${tried.join(', ')}]:
    size, why, inodes, why_not = fill(place)
    print(0 < size <= bound << 20, why, 0 < inodes <= (bound << 20) // 4096 + 1, why_not)`;
        const spec = { mounts: [{ type: 'tmpfs', destination: '/mnt/own', sizeBytes: 16 * MiB } as const] };
        const lines = await inPython(bench, script, spec);
        expect(lines).toEqual(tried.map(() => 'True ENOSPC True ENOSPC'));
      },
    ),
    'all places together take no more than limits.diskBytes, in bytes or in inodes': needing(
      ['limits.diskBytes'],
      async (bench) => {
        const script = `${fill}
places = ['/mnt/own', '/dev/shm', '/tmp', os.environ['HOME'], '/mnt/bounded']
print(*[fill(place)[0] >> 20 for place in places])
# What lies in one place is missing in the others.
left = []
for place in places[:-1]:
    with open(f'{place}/kept', 'wb', buffering=0) as kept: until_error(lambda n: kept.write(chunk))
    left.append(os.stat(f'{place}/kept').st_size)
print(sum(left) <= 16 << 20, os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize >> 20, len({os.stat(place).st_dev for place in places}))`;
        const tmpfs = { type: 'tmpfs' } as const;
        const mounts = [
          { ...tmpfs, destination: '/mnt/own' },
          { ...tmpfs, destination: '/mnt/bounded', sizeBytes: 2 * MiB },
        ];
        const [each, together] = await inPython(bench, script, { mounts, limits: { diskBytes: 18 * MiB } });
        expect(
          each
            ?.split(' ')
            .slice(0, 4)
            .map(Number)
            .every((size) => size >= 14 && size <= 16),
        ).toBe(true);
        expect(each?.split(' ')[4]).toMatch(/^[12]$/);
        expect(together).toBe('True 16 2');
      },
    ),
    'what cannot be written to cannot be filled': async (bench) => {
      const script = `
for place in ['/', '/dev', '/usr', '/etc', '/proc', '/sys', '/dev/pts', '/mnt', '/run', '/var', '/home']:
    result = attempt(lambda: os.close(os.open(f'{place}/file', os.O_CREAT | os.O_WRONLY)))
    if result == 'ok': print(place)
print('done')`;
      for (const user of [{}, { user: { uid: 0, gid: 0 } }])
        expect(await inPython(bench, script, user)).toEqual(['done']);
    },
    'every file system that can be written to has a bound far below the memory of the host': async (bench) => {
      // The kernel's own default is half of the memory.
      const script = `
for line in open('/proc/self/mountinfo'):
    left, right = line.split(' - ')
    place, options = left.split()[4:6]
    if right.split()[0] != 'tmpfs': continue
    status = os.statvfs(place)
    print(place, 0 < status.f_blocks * status.f_frsize <= 512 << 20, 0 < status.f_files <= 1 << 20)`;
      const lines = await inPython(bench, script);
      expect(lines.length).toBeGreaterThanOrEqual(4);
      for (const line of lines) expect(line).toMatch(/^\S+ True True$/);
    },
    'a file beyond limits.fileBytes is not written, by hole or by bytes, and the host disk keeps its room': async (
      bench,
    ) => {
      const place = bench.makeDirectory('filled');
      const free = statfsSync(place).bavail * statfsSync(place).bsize;
      const script = `
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
f = os.open('/out/file', os.O_CREAT | os.O_WRONLY, 0o666)
print(attempt(lambda: os.ftruncate(f, 1 << 40)), attempt(lambda: os.pwrite(f, b'x', 1 << 40)), attempt(lambda: os.posix_fallocate(f, 0, 1 << 30)))
import resource
try: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)); print('raised')
except (ValueError, OSError): print('refused')
print(os.fstat(f).st_size)`;
      const spec = { mounts: [`${place}:/out:rw`], limits: { fileBytes: MiB } };
      expect(await inPython(bench, script, spec)).toEqual(['EFBIG EFBIG EFBIG', 'refused', '0']);
      expect(statfsSync(place).bavail * statfsSync(place).bsize).toBeGreaterThan(free - 512 * MiB);
    },
  },
};
