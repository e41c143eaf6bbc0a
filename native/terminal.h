// The launcher's own terminal, while a command runs on one of the sandbox's: raw, so that every key reaches the command, and restored in the end.
#ifndef SANDBOXLIB_TERMINAL_H
#define SANDBOXLIB_TERMINAL_H

#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/types.h>

// False where none of 0, 1 and 2 is a terminal.
bool terminal_size(struct winsize *size);
// No effect when stdin is no terminal. False with errno. `alone`: there is no caller that would restore it after a SIGKILL, so that a process of ours does.
bool terminal_make_raw(bool alone);
// That process; 0: there is none.
pid_t terminal_keeper(void);
// As often as you like.
void terminal_restore(void);

#endif
