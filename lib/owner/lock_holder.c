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
#include "os/process.h"
#include "owner/lock_holder.h"

#define PATH_SIZE	80
#define LINK_SIZE	4096	/* PATH_MAX */
#define TEXT_SIZE	(256u << 10)	/* of fdinfo or maps, at first */
#define TEXT_SIZE_MAX	(64u << 20)
#define TABLE_ATTEMPTS	20u
#define TABLE_PAUSE_NS	(1000 * 1000ull)

struct search {
	const struct dp_lock_files *files;
	dp_lock_use_fn *fn;
	void *arg;
	struct dp_lock_unseen unseen;
	int pid, thread;		/* whose turn it is */
	int first_table, table;		/* the threads of that process whose descriptors
					   were examined first and last, or 0 */
	bool has_maps, is_unseen, is_cut;	/* of that process */
	char *text;
	size_t text_size;
	struct dp_lock_use use[DP_LOCK_USES];	/* of that thread, by kind */
};

/* --------------------------------------------------- what cannot be examined */

/* Kernel threads have no descriptors, and nor do processes that have died. Anyone may
 * read that a command line is empty, unless /proc is mounted with hidepid. */
static bool holder_has_memory(const struct search *search)
{
	char path[PATH_SIZE], text[8];
	int length;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/cmdline", search->pid,
		 search->thread);
	length = dp_os_read_file(path, text, sizeof(text));
	return length && length != -ENOENT && length != -ESRCH;
}

/* Count a process once. One that has ended in the meantime keeps nothing. */
static void holder_note_unseen(struct search *search, int error)
{
	const bool is_refused = error == -EACCES || error == -EPERM;

	if (!error || error == -ENOENT || error == -ESRCH || search->is_unseen ||
	    (is_refused && !holder_has_memory(search)))
		return;
	search->is_unseen = true;
	if (search->unseen.processes++)
		return;
	search->unseen.pid = search->pid;
	search->unseen.error = error;
}

static void holder_note_cut(struct search *search)
{
	search->unseen.cut += !search->is_cut;
	search->is_cut = true;
}

/* Double the memory for a text. False: it is as large as it may be, or memory ran
 * out. */
static bool holder_grow(struct search *search)
{
	char *text = NULL;

	if (search->text_size < TEXT_SIZE_MAX)
		text = realloc(search->text, 2 * search->text_size);
	if (!text)
		return false;
	search->text = text;
	search->text_size *= 2;
	return true;
}

/* Read a file of the thread whole into search->text. Returns its length. */
static int holder_read(struct search *search, const char *name)
{
	char path[PATH_SIZE];
	int length;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", search->pid, search->thread,
		 name);
	do
		length = dp_os_read_file(path, search->text, search->text_size);
	while (length >= (int)search->text_size - 1 && holder_grow(search));
	if (length >= (int)search->text_size - 1)
		holder_note_cut(search);
	if (length < 0) {
		holder_note_unseen(search, length);
		search->text[0] = '\0';
	}
	return length;
}

/* ---------------------------------------------------------------- the files */

/*
 * The index of the file that a path names, by the last part of the path; -1: of none.
 * Several files are "NAME.INDEX", a single one has any name.
 */
static int holder_index(const struct search *search, const char *path)
{
	const struct dp_lock_files *files = search->files;
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
	const char *name = slash ? slash + 1 : path;
	size_t length = dot > name ? (size_t)(dot - name) : 0;
	unsigned int index;

	if (files->count == 1)
		return strcmp(name, files->name) ? -1 : 0;
	if (!length || strncmp(name, files->name, length + 1) ||
	    sscanf(dot + 1, "%u", &index) != 1 || index >= files->count)
		return -1;
	return (int)index;
}

static bool holder_is_file(const struct search *search, int index, dev_t dev, ino_t ino)
{
	const struct dp_lock_file *file = &search->files->file[index];

	return file->ino == ino && file->dev == dev;
}

/* Is the file of that index, whose name was compared, at this path? */
static bool holder_is_file_at(const struct search *search, int index, const char *path)
{
	struct stat stat;

	return !dp_os_stat(path, &stat) &&
	       holder_is_file(search, index, stat.st_dev, stat.st_ino);
}

/* ------------------------------------------------------------- one process */

static void holder_note(struct search *search, enum dp_lock_use_kind kind, int fd,
			int index)
{
	struct dp_lock_use *use = &search->use[kind];

	if (!use->count++)
		*use = (struct dp_lock_use) {
			.kind = kind, .pid = search->pid,
			.thread = search->thread, .fd = fd, .count = 1,
			.file = (uint32_t)index };
}

/* A file of fdinfo; an empty text if it cannot be read. */
static char *holder_read_fdinfo(struct search *search, const char *fd)
{
	char name[32];

	snprintf(name, sizeof(name), "fdinfo/%.16s", fd);
	holder_read(search, name);
	return search->text;
}

/*
 * Read a ring's fdinfo from "UserFiles:" on. While a thread is in the ring the kernel
 * shows no file, and some kernels then show their number alone. NULL: it did not show
 * them.
 */
static char *holder_read_table(struct search *search, const char *fd)
{
	unsigned int count = 0;
	char *text;

	for (uint32_t i = 0; i < TABLE_ATTEMPTS; i++) {
		text = strstr(holder_read_fdinfo(search, fd), "UserFiles:");
		if (text && (sscanf(text, "UserFiles: %u", &count) != 1 || !count ||
			     strstr(text, ": ")))
			return text;
		if (!search->files->patient)
			return text;
		dp_os_sleep_ns(TABLE_PAUSE_NS);
	}
	return NULL;
}

/* Has the process this process's mounts, so that a path names the same file? */
static bool holder_shares_mounts(const struct search *search)
{
	char path[PATH_SIZE], own[LINK_SIZE], theirs[LINK_SIZE];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/mnt", search->pid,
		 search->thread);
	return dp_os_readlink("/proc/self/ns/mnt", own, sizeof(own)) > 0 &&
	       dp_os_readlink(path, theirs, sizeof(theirs)) > 0 && !strcmp(own, theirs);
}

/* Is it a path that leads to a file? Otherwise it has no directories, or they are of
 * another mount namespace, and which file it is cannot be seen. */
static bool holder_is_visible(const struct search *search, const char *path)
{
	struct stat stat;

	return path[0] == '/' && holder_shares_mounts(search) &&
	       !dp_os_stat(path, &stat);
}

/*
 * Is a file in a ring's file table? Its lines have the form "   0: PATH". Older
 * kernels, such as 6.12, show only the last part of the path, which every pool's
 * segment has in common. There `patient` searches report such a ring as uncertain,
 * and for others a process that has only a ring is not found.
 */
static void holder_look_at_ring(struct search *search, const char *fd)
{
	char *line, *file, *save = NULL;
	int index;

	line = holder_read_table(search, fd);
	if (!line) {
		search->unseen.rings++;
		return;
	}
	/* The first line has the number of slots. */
	strtok_r(line, "\n", &save);
	while ((line = strtok_r(NULL, "\n", &save)) && strncmp(line, "UserBufs:", 9)) {
		file = strstr(line, ": ");
		if (!file)
			continue;
		index = holder_index(search, file + 2);
		if (index < 0)
			continue;
		if (holder_is_file_at(search, index, file + 2))
			holder_note(search, DP_LOCK_USE_RING, atoi(fd), index);
		else if (search->files->patient && !holder_is_visible(search, file + 2))
			holder_note(search, DP_LOCK_USE_RING_PERHAPS, atoi(fd), index);
	}
}

/* Does the open file have an flock()? Only that one keeps the lock, and other opens of
 * the same file do not. If fdinfo cannot be read, it counts. */
static bool holder_has_flock(struct search *search, const char *fd)
{
	const char *text = holder_read_fdinfo(search, fd);

	return !text[0] || strstr(text, "FLOCK");
}

/* Descriptors that were sent to a socket and not received are in no other place. */
static void holder_look_at_socket(struct search *search, const char *fd)
{
	const char *text;
	unsigned int queued;

	if (!search->files->patient)
		return;
	text = strstr(holder_read_fdinfo(search, fd), "scm_fds:");
	if (text && sscanf(text, "scm_fds: %u", &queued) == 1 && queued)
		holder_note(search, DP_LOCK_USE_SOCKET, atoi(fd), 0);
}

static int holder_look_at_fd(const char *fd, void *arg)
{
	struct search *search = arg;
	char path[PATH_SIZE], link[LINK_SIZE];
	int index, length;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%.16s", search->pid,
		 search->thread, fd);
	length = dp_os_readlink(path, link, sizeof(link));
	if (length < 0) {
		if (fd[0] != '.')
			holder_note_unseen(search, length);
		return 0;
	}
	if (!strcmp(link, "anon_inode:[io_uring]")) {
		holder_look_at_ring(search, fd);
		return 0;
	}
	/* This process has the file open to ask for its lock. */
	if (search->pid == dp_os_pid())
		return 0;
	if (!strncmp(link, "socket:", 7)) {
		holder_look_at_socket(search, fd);
		return 0;
	}
	index = holder_index(search, link);
	if (index >= 0 && holder_is_file_at(search, index, path) &&
	    holder_has_flock(search, fd))
		holder_note(search, DP_LOCK_USE_DESCRIPTOR, atoi(fd), index);
	return 0;
}

/* All threads of a process have the same memory, but one that ended shows none. */
static void holder_look_at_maps(struct search *search)
{
	char *line, *save = NULL;
	unsigned int maj, min;
	unsigned long ino;
	int index, at;

	search->has_maps = holder_read(search, "maps") > 0;
	for (line = strtok_r(search->text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		at = 0;
		if (sscanf(line, "%*x-%*x %*s %*x %x:%x %lu %n", &maj, &min, &ino,
			   &at) < 3 || !at)
			continue;
		index = holder_index(search, line + at);
		if (index >= 0 && holder_is_file(search, index, makedev(maj, min), ino))
			holder_note(search, DP_LOCK_USE_MAPPING, -1, index);
	}
}

static int holder_report(struct search *search)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_LOCK_USES; i++)
		if (search->use[i].count)
			ret = search->fn(&search->use[i], search->arg);
	memset(search->use, 0, sizeof(search->use));
	return ret;
}

/* Has the thread a table of descriptors that was examined already? A copy is another
 * table, which can be in use for longer. If the kernel does not say which it is, the
 * thread is examined, and what it has is listed once more. */
static bool holder_was_examined(const struct search *search)
{
	return search->table &&
	       (dp_os_share_files(search->first_table, search->thread) == DP_YES ||
		dp_os_share_files(search->table, search->thread) == DP_YES);
}

/* An entry of /proc/PID/task. A thread can have descriptors of its own (unshare(2) with
 * CLONE_FILES), and those of the others if the main thread has exited. */
static int holder_look_at_thread(const char *name, void *arg)
{
	struct search *search = arg;
	char path[PATH_SIZE];
	int dir, ret;

	search->thread = atoi(name);
	if (search->thread <= 0)
		return 0;
	if (!search->has_maps)
		holder_look_at_maps(search);
	if (holder_was_examined(search))
		return holder_report(search);
	search->table = search->thread;
	if (!search->first_table)
		search->first_table = search->thread;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", search->pid,
		 search->thread);
	dir = dp_os_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	ret = dir < 0 ? dir : dp_os_list(dir, holder_look_at_fd, search);
	dp_os_close(dir);
	holder_note_unseen(search, ret);
	return holder_report(search);
}

/* An entry of /proc; non-zero ends the search. */
static int holder_look_at_process(const char *name, void *arg)
{
	struct search *search = arg;
	char path[PATH_SIZE];
	int dir, ret;

	search->pid = atoi(name);
	if (search->pid <= 0)
		return 0;
	search->thread = search->pid;
	search->first_table = search->table = 0;
	search->has_maps = search->is_unseen = search->is_cut = false;
	snprintf(path, sizeof(path), "/proc/%d/task", search->pid);
	dir = dp_os_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	ret = dir < 0 ? dir : dp_os_list(dir, holder_look_at_thread, search);
	dp_os_close(dir);
	if (ret >= 0)
		return ret;
	holder_note_unseen(search, ret);
	return 0;
}

/* ------------------------------------------------------------ all processes */

int dp_lock_holder_list(const struct dp_lock_files *files, dp_lock_use_fn *fn,
			void *arg, struct dp_lock_unseen *ret_unseen)
{
	struct search search = { .files = files, .fn = fn, .arg = arg,
				 .text_size = TEXT_SIZE };
	int proc, ret = -ENOMEM;

	search.text = malloc(search.text_size);
	proc = dp_os_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
	if (search.text)
		ret = proc < 0 ? proc : dp_os_list(proc, holder_look_at_process,
						   &search);
	dp_os_close(proc);
	free(search.text);
	if (ret_unseen)
		*ret_unseen = search.unseen;
	return ret;
}

static int holder_take_pid(const struct dp_lock_use *use, void *arg)
{
	*(int *)arg = use->pid;
	return 1;
}

int dp_lock_holder_find(int fd, dev_t dev, ino_t ino)
{
	const struct dp_lock_file file = { dev, ino };
	struct dp_lock_files files = { .file = &file, .count = 1 };
	char path[PATH_SIZE], link[LINK_SIZE];
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (dp_os_readlink(path, link, sizeof(link)) < 0)
		return 0;
	files.name = strrchr(link, '/');
	if (!files.name++)
		return 0;
	return dp_lock_holder_list(&files, holder_take_pid, &pid, NULL) > 0 ? pid : 0;
}

bool dp_lock_holder_is_dead(int pid)
{
	char path[PATH_SIZE], text[512], state;
	const char *rest;
	int threads;

	if (!dp_os_pid_exists(pid))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (dp_os_read_file(path, text, sizeof(text)) < 0)
		return false;
	/* The name in between may hold anything: the last ')' ends it. */
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d",
			    &state, &threads) != 2)
		return false;
	/* It is a zombie, too, if only its main thread has exited. */
	return (state == 'Z' || state == 'X') && threads <= 1;
}
