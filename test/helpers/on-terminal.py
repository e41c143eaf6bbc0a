# Runs a command on a new terminal: on-terminal.py ROWS COLUMNS COMMAND [ARG...]. Keys come on stdin, the screen goes to stdout. Lines on descriptor 3:
# "resize ROWS COLUMNS", or "modes", which answers "cooked" or "raw" on descriptor 4. The end of stdin closes nothing: the command ends by itself.
import fcntl, os, pty, select, struct, sys, termios


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))


pid, master = pty.fork()
if pid == 0:
    os.close(3)
    os.close(4)
    resize(0, sys.argv[1], sys.argv[2])
    os.execvp(sys.argv[3], sys.argv[3:])

sources = [0, 3, master]
commands = b""
while master in sources:
    for fd in select.select(sources, [], [])[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        if not data:
            sources.remove(fd)
        elif fd == master:
            os.write(1, data)
        elif fd == 0:
            os.write(master, data)
        else:
            commands += data
            while b"\n" in commands:
                line, commands = commands.split(b"\n", 1)
                word, *rest = line.decode().split()
                if word == "resize":
                    resize(master, *rest)
                else:
                    local = termios.tcgetattr(master)[3]
                    cooked = local & termios.ICANON and local & termios.ECHO and local & termios.ISIG
                    os.write(4, b"cooked\n" if cooked else b"raw\n")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
