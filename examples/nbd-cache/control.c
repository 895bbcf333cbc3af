/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket. One client at a time: others wait, also during a change of the
 * limit. A client that sends nothing is dropped after a while. */
#include "control.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_SECONDS	5
#define LIMIT_MS	30000u

static struct {
	struct cache *cache;
	struct sockaddr_un address;
	int socket;
	bool started;
	pthread_t thread;
} control;

static const char *reason(int error)
{
	switch (error) {
	case -EINVAL:
		return "limit must be followed by a percentage from 1 to 100";
	case -ENOSPC:
		return "the filesystem has too little space for that limit";
	case -ETIMEDOUT:
		return "the limit holds, but less is given back than it allows: repeat the command, and see whether the disk accepts dirty blocks";
	default:
		return strerror(-error);
	}
}

static void limit(const char *value, FILE *client)
{
	uint64_t holes = 0;
	char *end;
	unsigned long percent = strtoul(value, &end, 10);
	int ret = -EINVAL;

	end += *end == '%';
	if (end > value && !*end && percent <= 100)
		ret = cache_limit(control.cache, percent, LIMIT_MS, &holes);
	if (ret)
		fprintf(client, "error: %s\n", reason(ret));
	else
		fprintf(client, "ok: %" PRIu64 " bytes of the pool are given back\n",
			holes);
}

static void answer(const char *line, FILE *client)
{
	if (!strcmp(line, "stats"))
		cache_metrics(control.cache, client);
	else if (!strncmp(line, "limit ", 6))
		limit(line + 6, client);
	else
		fputs("error: the commands are: stats, limit PERCENT\n", client);
}

/* A socket call with a timeout ends with EINTR also without a signal: whenever
 * io_uring completes a request that this thread has submitted, as limit() does. */
static bool read_line(int fd, char *line, size_t size)
{
	size_t length = 0;
	ssize_t n;

	while (length < size - 1 && !memchr(line, '\n', length)) {
		n = recv(fd, line + length, size - 1 - length, 0);
		if (n > 0)
			length += n;
		else if (!n)
			break;
		else if (errno != EINTR)
			return false;	/* half a line can be another command */
	}
	line[length] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return length;
}

static void send_all(int fd, const char *words, size_t size)
{
	size_t sent = 0;
	ssize_t n;

	while (sent < size) {
		n = send(fd, words + sent, size - sent, MSG_NOSIGNAL);
		if (n >= 0)
			sent += n;
		else if (errno != EINTR)
			return;
	}
}

static void serve(int fd)
{
	char line[64], *words = NULL;
	size_t size;
	FILE *client;

	if (!read_line(fd, line, sizeof(line)))
		return;
	client = open_memstream(&words, &size);
	if (!client)
		return;
	answer(line, client);
	if (!fclose(client))
		send_all(fd, words, size);
	free(words);
}

static void *run(void *arg)
{
	struct timeval timeout = { .tv_sec = CLIENT_SECONDS };
	int fd;

	(void)arg;
	while ((fd = accept4(control.socket, NULL, NULL, SOCK_CLOEXEC)) >= 0 ||
	       errno != EINVAL) {	/* the end of control_stop() */
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
		serve(fd);
		close(fd);
	}
	return NULL;
}

static int bind_socket(void)
{
	return bind(control.socket, (struct sockaddr *)&control.address,
		    sizeof(control.address)) ? -errno : 0;
}

/* A killed server leaves its socket, which refuses connections. So does a file of
 * another kind, which is not ours to remove. */
static int bind_again(void)
{
	struct stat st;
	bool dead;
	int fd;

	if (lstat(control.address.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	dead = connect(fd, (struct sockaddr *)&control.address,
		       sizeof(control.address)) && errno == ECONNREFUSED;
	close(fd);
	if (!dead || unlink(control.address.sun_path))
		return -EADDRINUSE;
	return bind_socket();
}

const char *control_reason(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "another server uses it, or it is a file of another kind: give another path";
	case -ENAMETOOLONG:
		return "the path of a socket has at most 107 bytes";
	case -ENOENT:
		return "its directory does not exist";
	default:
		return strerror(-error);
	}
}

int control_start(struct cache *cache, const char *path)
{
	int ret;

	if (strlen(path) >= sizeof(control.address.sun_path))
		return -ENAMETOOLONG;
	control.cache = cache;
	control.address.sun_family = AF_UNIX;
	strcpy(control.address.sun_path, path);
	control.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret = bind_socket();
	if (ret == -EADDRINUSE)
		ret = bind_again();
	/* Nobody can connect before the listen. */
	if (!ret && (chmod(path, 0600) || listen(control.socket, 8)))
		ret = -errno;
	if (!ret)
		ret = -pthread_create(&control.thread, NULL, run, NULL);
	control.started = !ret;
	return ret;
}

void control_stop(void)
{
	if (!control.started)
		return;
	shutdown(control.socket, SHUT_RDWR);
	pthread_join(control.thread, NULL);
	close(control.socket);
	unlink(control.address.sun_path);
}
