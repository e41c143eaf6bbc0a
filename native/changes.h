// What a command left in the layer above an overlay, as a list. It is hostile: nothing of it is followed, and its directories are only read.
#ifndef SANDBOXLIB_CHANGES_H
#define SANDBOXLIB_CHANGES_H

// A command can nest directories as deep as it likes (chdir(2), mkdir(2), and again), and each level takes descriptors of who looks, and bytes of the path.
#define CHANGES_DEPTH_MAX 256

// Of an empty file that stands for a whiteout.
#define CHANGES_WHITEOUT "user.overlay.whiteout"

// Writes to standard output, for each entry below `directory`, a directory before what it holds: type (d f l p s b c as in find(1), w for a whiteout), `o`
// for an opaque directory, `x` for one that lies too deep to be looked into, or `-`, mode in octal, uid, gid, size, time of modification, inode, path, each after a space; then NUL. The exit status: 1 with
// a line on standard error where it cannot all be listed.
int changes_list(const char *directory);

#endif
