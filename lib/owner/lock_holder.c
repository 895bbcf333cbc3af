/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dead owner's lock is kept by I/O that continues, or by a process: a forked
 * child, or one that was sent a descriptor or a ring. A waiting caller needs to know
 * which, because only I/O ends by itself. An orphaned ring is in no process, so a
 * lock that no process keeps is kept by I/O (kernel.md K28).
 *
 * Names are compared before any stat(), so that a file on a server that does not
 * answer cannot hang the search.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include "os/os.h"
#include "owner/lock_holder.h"

#define PATH_SIZE	64
#define LINK_SIZE	512
#define TEXT_SIZE	(256u << 10)	/* of fdinfo or maps; the rest is cut */

struct search {
	dev_t dev;
	ino_t ino;
	char link[LINK_SIZE];		/* how /proc names the file */
	const char *name;		/* the last part of it */
	int pid;			/* whose turn it is */
	char *text;
};

static bool holder_has_name(const struct search *search, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && !strcmp(slash + 1, search->name);
}

static bool holder_is_it(const struct search *search, const char *path)
{
	struct stat stat;

	return !dp_os_stat(path, &stat) &&
	       stat.st_dev == search->dev && stat.st_ino == search->ino;
}

/*
 * Is the file in a ring's file table? Its lines have the form "   0: PATH". Older
 * kernels, such as 6.12, show only the last part of the path, which every pool's
 * segment has in common. There a process that has only a ring is not found.
 */
static bool holder_is_in_ring(const struct search *search, const char *fd)
{
	char path[PATH_SIZE], *line, *file, *save = NULL;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", search->pid, fd);
	if (dp_os_read_file(path, search->text, TEXT_SIZE) < 0)
		return false;
	line = strstr(search->text, "UserFiles:");
	for (line = line ? strtok_r(line, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "UserBufs:", 9))
			return false;
		file = strstr(line, ": ");
		if (file && holder_has_name(search, file + 2) &&
		    holder_is_it(search, file + 2))
			return true;
	}
	return false;
}

static int holder_look_at_fd(const char *fd, void *arg)
{
	const struct search *search = arg;
	char path[PATH_SIZE], link[LINK_SIZE];

	snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", search->pid, fd);
	if (dp_os_readlink(path, link, sizeof(link)) < 0)
		return 0;
	if (!strcmp(link, "anon_inode:[io_uring]"))
		return holder_is_in_ring(search, fd);
	/* This process has the file open to ask for its lock. */
	if (search->pid == dp_os_pid())
		return 0;
	return holder_has_name(search, link) && holder_is_it(search, path);
}

static bool holder_has_it_mapped(const struct search *search)
{
	char path[PATH_SIZE], *line, *save = NULL;
	unsigned int maj, min;
	unsigned long ino;

	snprintf(path, sizeof(path), "/proc/%d/maps", search->pid);
	if (dp_os_read_file(path, search->text, TEXT_SIZE) < 0)
		return false;
	for (line = strtok_r(search->text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*x-%*x %*s %*x %x:%x %lu", &maj, &min,
			   &ino) == 3 &&
		    ino == search->ino && makedev(maj, min) == search->dev)
			return true;
	return false;
}

/* An entry of /proc; 1 ends the search. */
static int holder_look_at_process(const char *name, void *arg)
{
	struct search *search = arg;
	char path[PATH_SIZE];
	int dir, found;

	search->pid = atoi(name);
	if (search->pid <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", search->pid);
	dir = dp_os_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return 0;
	found = dp_os_list(dir, holder_look_at_fd, search);
	dp_os_close(dir);
	return found > 0 || holder_has_it_mapped(search);
}

int dp_lock_holder_find(int fd, dev_t dev, ino_t ino)
{
	struct search search = { .dev = dev, .ino = ino };
	char path[PATH_SIZE];
	int proc, found = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (dp_os_readlink(path, search.link, sizeof(search.link)) < 0)
		return 0;
	search.name = strrchr(search.link, '/');
	search.text = malloc(TEXT_SIZE);
	proc = dp_os_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
	if (search.name++ && search.text && proc >= 0)
		found = dp_os_list(proc, holder_look_at_process, &search);
	dp_os_close(proc);
	free(search.text);
	return found > 0 ? search.pid : 0;
}

bool dp_lock_holder_is_dead(int pid)
{
	char path[PATH_SIZE], text[512];
	const char *rest;

	if (!dp_os_pid_exists(pid))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (dp_os_read_file(path, text, sizeof(text)) < 0)
		return false;
	/* The name in between may hold anything: the last ')' ends it. */
	rest = strrchr(text, ')');
	return rest && (rest[2] == 'Z' || rest[2] == 'X');
}
