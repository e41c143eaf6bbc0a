// `launcher probe`: what this host offers, found by doing it.
#ifndef SANDBOXLIB_PROBE_H
#define SANDBOXLIB_PROBE_H

// argv: the words after `probe`. Prints one JSON line for each facility on standard output and returns the exit status: 0 when every
// facility was tried (whatever came of it), 125 for bad arguments or when trying itself failed.
int probe_main(int argc, char *const argv[]);

#endif
