import { expect } from 'vitest';
import { inPython } from '../in-python.ts';
import type { Technique } from '../technique.ts';

/** Every family and the usual types, so that one that was forgotten shows. */
const script = `
made = set()
for family in range(0, 64):
    for kind in (1, 2, 3, 5):
        for protocol in (0, 1, 16):
            if attempt(lambda: socket.socket(family, kind, protocol).close()) == 'ok': made.add((family, kind))
        if attempt(lambda: [end.close() for end in socket.socketpair(family, kind)]) == 'ok': made.add((family, kind))
print(sorted({family for family, kind in made}))
print(sorted(family for family, kind in made if kind == 3 and family != socket.AF_NETLINK))
for name, family, kind in [('vsock', 40, 1), ('alg', 38, 5), ('packet', 17, 3), ('bluetooth', 31, 3), ('can', 29, 3), ('xdp', 44, 3)]:
    print(name, attempt(lambda: socket.socket(family, kind, 0)))
for name, family in [('raw', socket.AF_INET), ('raw6', socket.AF_INET6)]:
    print(name, attempt(lambda: socket.socket(family, socket.SOCK_RAW, 1)))
`;

const refused = ['vsock', 'alg', 'packet', 'bluetooth', 'can', 'xdp'].map((name) => `${name} EAFNOSUPPORT`);

export const technique: Technique = {
  name: 'socket-families',
  attacks: ['root.host', 'seccomp.default', 'network.none', 'network.host'],
  cases: {
    // A raw AF_UNIX socket is a datagram one: unix_create().
    'only unix, inet, inet6 and netlink sockets can be made, none of them raw': async (bench) => {
      for (const network of ['none', 'host'] as const) {
        const [families, raw, ...named] = await inPython(bench, script, { network });
        expect({ network, families, raw }).toEqual({ network, families: '[1, 2, 10, 16]', raw: '[1]' });
        expect(named).toEqual([...refused, 'raw EPERM', 'raw6 EPERM']);
      }
    },
    'without the filter there would be more': async (bench) => {
      const [families] = await inPython(bench, script, { seccomp: 'unconfined' });
      expect(families).not.toBe('[1, 2, 10, 16]');
    },
    'root of the sandbox makes no raw socket either': async (bench) => {
      const [families, raw, ...named] = await inPython(bench, script, {
        network: 'host',
        user: { uid: 0, gid: 0 },
      });
      expect({ families, raw }).toEqual({ families: '[1, 2, 10, 16]', raw: '[1]' });
      expect(named).toEqual([...refused, 'raw EPERM', 'raw6 EPERM']);
    },
    'on the network of the host nothing of it can be changed': async (bench) => {
      // An address and a route by rtnetlink, an interface by ioctl, each to no effect even if it were granted: lo has its address, and is up.
      const changes = `
import fcntl, struct
def netlink(kind, flags, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.settimeout(5)
    s.send(struct.pack('IHHII', 16 + len(body), kind, flags | 5, 1, 0) + body)
    reply = s.recv(65536)
    code = -struct.unpack('i', reply[16:20])[0]
    return errno.errorcode.get(code, code)
lo = socket.if_nametoindex('lo')
print('address', netlink(20, 0x600, struct.pack('BBBBI', 2, 8, 0, 254, lo) + struct.pack('HH4s', 8, 2, bytes([127, 0, 0, 1]))))
print('link', netlink(16, 0, struct.pack('BBHiII', 0, 0, 0, lo, 1, 1)))
print('flags', attempt(lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 0x49))))
`;
      for (const user of [undefined, { uid: 0, gid: 0 }]) {
        expect(await inPython(bench, changes, { network: 'host', ...(user === undefined ? {} : { user }) })).toEqual([
          'address EPERM',
          'link EPERM',
          'flags EPERM',
        ]);
      }
    },
  },
};
