// One attempt of the hostile package; see the Makefile.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int report(const char *verb, const char *answer, const char *object)
{
	printf("%s\t%s\t%s %s\n", verb, answer, verb, object);
	return 0;
}

// Only those that these calls are known to give; any other is shown by its number.
static const char *errno_name(int number)
{
	static char text[32];
	switch (number) {
	case EACCES: return "EACCES";
	case ECONNREFUSED: return "ECONNREFUSED";
	case EHOSTUNREACH: return "EHOSTUNREACH";
	case EISDIR: return "EISDIR";
	case ENETUNREACH: return "ENETUNREACH";
	case ENOENT: return "ENOENT";
	case ENOTDIR: return "ENOTDIR";
	case EPERM: return "EPERM";
	case EROFS: return "EROFS";
	case ESRCH: return "ESRCH";
	case ETIMEDOUT: return "ETIMEDOUT";
	default: snprintf(text, sizeof text, "errno %d", number); return text;
	}
}

static const char *answer(int failed)
{
	return failed ? errno_name(errno) : "succeeded";
}

static int attempt_connect(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	char object[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, address, &to.sin_addr);
	snprintf(object, sizeof object, "%s:%s", address, port);
	return report("connect", answer(fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0), object);
}

static int attempt_resolve(const char *name)
{
	struct addrinfo *found = NULL;
	int error = getaddrinfo(name, "80", NULL, &found);
	return report("resolve", error == 0 ? "succeeded" : gai_strerror(error), name);
}

static int attempt_read(const char *path)
{
	return report("read", answer(open(path, O_RDONLY | O_CLOEXEC) < 0), path);
}

// Getting a file open for writing is the harm; what is there already is left as it is, should the attempt succeed.
static int attempt_write(const char *path)
{
	return report("write", answer(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) < 0), path);
}

// A number that belongs to another program inside is not the process that is meant.
static int attempt_kill(const char *pid)
{
	char object[64], path[64], name[32] = "";
	snprintf(object, sizeof object, "process %s", pid);
	snprintf(path, sizeof path, "/proc/%s/comm", pid);
	FILE *comm = fopen(path, "re");
	if (comm != NULL && fgets(name, sizeof name, comm) != NULL && strncmp(name, "node", 4) != 0)
		return report("kill", errno_name(ESRCH), object);
	return report("kill", answer(kill(atoi(pid), SIGKILL) != 0), object);
}

// Leaves a process that has nothing to do with the build any more. That it starts is no harm; that it stays would be.
static int attempt_daemon(const char *name)
{
	report("daemon", "started", name);
	fflush(stdout);
	if (fork() != 0) return 0;
	setsid();
	if (fork() != 0) _exit(0);
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++) dup2(null, fd);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	execl("/bin/sh", name, "-c", "while :; do sleep 1; done", name, (char *)NULL);
	_exit(127);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";
	if (strcmp(verb, "connect") == 0 && argc == 4) return attempt_connect(argv[2], argv[3]);
	if (strcmp(verb, "resolve") == 0) return attempt_resolve(argv[2]);
	if (strcmp(verb, "read") == 0) return attempt_read(argv[2]);
	if (strcmp(verb, "write") == 0) return attempt_write(argv[2]);
	if (strcmp(verb, "kill") == 0) return attempt_kill(argv[2]);
	if (strcmp(verb, "daemon") == 0) return attempt_daemon(argv[2]);
	fprintf(stderr, "usage: attempt VERB OBJECT...; see the Makefile\n");
	return 2;
}
