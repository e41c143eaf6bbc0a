import { spawn as spawnPlainly } from 'node:child_process';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { expect } from 'vitest';
import { run, spawn } from '../../../src/index.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import { needing, type Technique } from '../technique.ts';

/** By every kind of packet, to the host's own addresses, to the outside, to link-local services; nothing may be sent. */
const everywhere = `
addresses = ['127.0.0.1', '10.0.0.1', '169.254.169.254', '192.0.2.1', '8.8.8.8', '255.255.255.255', '224.0.0.251']
for address in addresses[1:]:
    tcp = socket.socket(); tcp.settimeout(5)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    print('tcp', attempt(lambda: tcp.connect((address, 80))), 'udp', attempt(lambda: udp.sendto(b'x', (address, 53))))
for address in ['2001:db8::1', 'fe80::1', 'ff02::1', '::ffff:8.8.8.8']:
    tcp = socket.socket(socket.AF_INET6); tcp.settimeout(5)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    print('tcp', attempt(lambda: tcp.connect((address, 80))), 'udp', attempt(lambda: udp.sendto(b'x', (address, 53))))
`;

/** rtnetlink: an address on lo, a default route, a veth and a dummy interface, another network namespace by its pid. */
const reconfigure = `
import struct
def netlink(kind, flags, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.settimeout(5)
    s.send(struct.pack('IHHII', 16 + len(body), kind, flags | 5, 1, 0) + body)
    code = -struct.unpack('i', s.recv(65536)[16:20])[0]
    return errno.errorcode.get(code, code)
def attribute(kind, value): return struct.pack('HH', 4 + len(value), kind) + value + bytes(-len(value) % 4)
lo = socket.if_nametoindex('lo')
link = struct.pack('BBHiII', 0, 0, 0, 0, 0, 0)
print('address', netlink(20, 0x600, struct.pack('BBBBI', 2, 8, 0, 0, lo) + attribute(2, bytes([10, 9, 8, 7]))))
print('route', netlink(24, 0x600, struct.pack('BBBBBBBBI', 2, 0, 0, 0, 254, 4, 0, 1, 0) + attribute(4, struct.pack('I', lo))))
print('dummy', netlink(16, 0x600, link + attribute(3, b'dummy7') + attribute(18, attribute(1, b'dummy'))))
print('veth', netlink(16, 0x600, link + attribute(3, b'veth7') + attribute(18, attribute(1, b'veth'))))
print('to another namespace', netlink(16, 0, struct.pack('BBHiII', 0, 0, 0, lo, 0, 0) + attribute(19, struct.pack('I', 1))))
print([name for _, name in socket.if_nameindex()])
`;

const sayHello = (port: number): string => `
s = socket.socket(); s.settimeout(5)
print(attempt(lambda: s.connect(('127.0.0.1', ${port}))))
s = socket.socket(socket.AF_INET6); s.settimeout(5)
print(attempt(lambda: s.connect(('::1', ${port}))))
s = socket.socket(socket.AF_INET6); s.settimeout(5)
print(attempt(lambda: s.connect(('::ffff:127.0.0.1', ${port}))))`;

export const technique: Technique = {
  name: 'network-escape',
  attacks: ['network.none', 'namespace.network'],
  cases: {
    'no packet leaves, of any kind, to anywhere': async (bench) => {
      const lines = await inPython(bench, everywhere);
      expect(lines).toHaveLength(10);
      for (const line of lines)
        expect(line).toMatch(/^tcp (ENETUNREACH|EADDRNOTAVAIL|EINVAL) udp (ENETUNREACH|EADDRNOTAVAIL|EINVAL)$/);
    },
    'with capabilities over its own network a command has only its own network': needing(
      ['capabilities.keep'],
      async (bench) => {
        const spec = { capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW'] };
        const before = await interfacesOfHost();
        await withServer({ host: '::', port: 0 }, async (server, hits) => {
          const { port } = server.address() as AddressInfo;
          const lines = await inPython(bench, reconfigure + sayHello(port), spec);
          // It makes what it likes in there: nothing connects that with the outside.
          expect(lines.slice(0, 2)).toEqual(['address 0', 'route 0']);
          expect(lines.slice(-3)).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED']);
          expect(hits()).toBe(0);
        });
        expect(await interfacesOfHost()).toEqual(before);
      },
    ),
    'addresses, routes and interfaces cannot be made': async (bench) => {
      for (const user of [{}, { user: { uid: 0, gid: 0 } }]) {
        expect(await inPython(bench, reconfigure, user)).toEqual([
          ...['address', 'route', 'dummy', 'veth', 'to another namespace'].map((what) => `${what} EPERM`),
          "['lo']",
        ]);
      }
    },
    'services on loopback of the host are not on that of the sandbox': async (bench) => {
      await withServer({ host: '::', port: 0 }, async (server, hits) => {
        const script = sayHello((server.address() as AddressInfo).port);
        expect(await inPython(bench, script)).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED']);
        expect(hits()).toBe(0);
        // They can be reached where the network is the host's.
        if (!bench.recognized.has('network.host')) return;
        expect(await inPython(bench, script, { network: 'host' })).toEqual(['ok', 'ok', 'ok']);
        await expect.poll(hits).toBe(3);
      });
    },
    'abstract sockets of the host are not there': async (bench) => {
      const name = `sandboxlib-attack-${process.pid}-${bench.backend}`;
      const listener = `
import subprocess
s = socket.socket(socket.AF_UNIX); s.bind('\\0${name}'); s.listen()
print('ready', flush=True); sys.stdin.read()`;
      const attack = `s = socket.socket(socket.AF_UNIX)\nprint(attempt(lambda: s.connect('\\0${name}')))`;
      const [file = '', ...args] = pythonCommand(listener);
      const service = spawnPlainly(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      try {
        await new Promise((resolve) => service.stdout.once('data', resolve));
        expect(await inPython(bench, attack)).toEqual(['ECONNREFUSED']);
        if (bench.recognized.has('network.host'))
          expect(await inPython(bench, attack, { network: 'host' })).toEqual(['ok']);
      } finally {
        const ended = new Promise((resolve) => service.once('exit', resolve));
        service.stdin.end();
        await ended;
      }
    },
    'no service that looks names up can be reached, and none is asked': needing(['root.host'], async (bench) => {
      const script = `
for path in ['/run/nscd/socket', '/var/run/nscd/socket', '/run/systemd/resolve/io.systemd.Resolve', '/run/dbus/system_bus_socket', '/run/avahi-daemon/socket', '/run/docker.sock', '/run/user']:
    print(os.path.lexists(path))
try: socket.getaddrinfo('example.org', 80); print('resolved')
except socket.gaierror: print('no name')`;
      expect(await inPython(bench, script)).toEqual([...Array.from({ length: 7 }, () => 'False'), 'no name']);
    }),
    'two sandboxes use the same port at once, and neither meets the other': async (bench) => {
      const script = (who: string): string => `
import time
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen()
u = socket.socket(socket.AF_UNIX); u.bind('\\0same-name'); u.listen()
print('ready', flush=True)
sys.stdin.readline()
c = socket.create_connection(('127.0.0.1', 8080)); peer, _ = s.accept(); peer.send(b'${who}')
print(c.recv(9).decode())`;
      let ready = 0;
      const both = ['one', 'two'].map((who) => spawn(pythonCommand(script(who)), {}, bench.options({ stdin: 'pipe' })));
      const answers = await Promise.all(
        both.map(async (handle, index) => {
          const lines: string[] = [];
          for await (const line of handle) {
            lines.push(line);
            // Both hold the port now.
            if (line === 'ready' && ++ready === 2) for (const other of both) other.stdin.end('go\n');
          }
          expect((await handle).outcome, `run ${index}`).toEqual({ kind: 'exited', code: 0 });
          return lines;
        }),
      );
      expect(answers).toEqual([
        ['ready', 'one'],
        ['ready', 'two'],
      ]);
    },
    'the namespaces of the host cannot be entered by any name for them': async (bench) => {
      const script = `
import glob
for name in ['net', 'mnt', 'pid', 'user', 'ipc', 'uts', 'cgroup']:
    for path in [f'/proc/1/ns/{name}', f'/proc/self/ns/{name}', *glob.glob('/run/netns/*')]:
        result = attempt(lambda: syscall(${process.arch === 'arm64' ? 268 : 308}, os.open(path, os.O_RDONLY), 0))
        if result == 'ok': print(path)
print('done')`;
      expect(await inPython(bench, script)).toEqual(['done']);
    },
  },
};

async function withServer(
  where: { host: string; port: number },
  body: (server: Server, hits: () => number) => Promise<void>,
): Promise<void> {
  let hits = 0;
  const server = createServer((connection) => {
    hits++;
    connection.on('error', () => {});
    connection.end();
  });
  await new Promise<void>((resolve) => server.listen(where, resolve));
  try {
    await body(server, () => hits);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

async function interfacesOfHost(): Promise<string[]> {
  const { stdout } = await run(['cat', '/proc/net/dev'], {}, { backend: 'none', optional: 'all' });
  return (stdout as string).split('\n').map((line) => line.split(':')[0]?.trim() ?? '');
}
