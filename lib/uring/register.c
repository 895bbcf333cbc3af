/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The adapter's calls to the kernel about a ring: its tables of files and of
 * buffers, and their contents.
 *
 * They use a descriptor of the adapter, so that a ring which the program frees too
 * early still exists for the detach, and is not confused with another ring that got
 * its number. A ring that is known only by its index among the registered rings has
 * no descriptor. Such an index belongs to one thread; in another thread it may
 * mean another ring, so every call there is refused here. The kernel reuses the id
 * of a thread that ended, so threads are distinguished by numbers of the adapter.
 */
#include "uring/register.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The oldest supported liburing does not define these. */
#define BY_REGISTERED_RING	(1u << 31)
#define CLONE_BUFFERS		30
#define CLONE_REPLACES		2u
/* A wait for a hang-up polls again after this time, even without a wake-up. */
#define RECHECK_NS		100000000ull
/* How often, and how long after each other, the table of a busy ring is read. */
#define BUSY_TRIES		100
#define BUSY_NS			1000000
/* The same if the size of the table is shown, but no slot. */
#define HIDDEN_TRIES		8
/* Slots that one call empties. */
#define EMPTIED_AT_ONCE		256u

/* What CLONE_BUFFERS takes; before Linux 6.13 all after the flags must be 0. */
struct register_clone {
	uint32_t from_fd;
	uint32_t flags;
	uint32_t from_slot;
	uint32_t to_slot;
	uint32_t count;			/* 0: all */
	uint32_t reserved[3];
};

static uint64_t register_thread(void)
{
	static _Thread_local uint64_t number;
	static atomic_uint_fast64_t threads;

	if (!number)
		number = 1 + atomic_fetch_add_explicit(&threads, 1,
						       memory_order_relaxed);
	return number;
}

int dp_uring_link(const struct io_uring *ring, struct dp_uring_link *ret_link)
{
	int fd;

	/* The program has only the index of the ring among the thread's registered
	 * rings, so there is no descriptor to duplicate. */
	if (ring->ring_fd < 0 && ring->enter_ring_fd >= 0) {
		*ret_link = (struct dp_uring_link) {
			.ring_fd_copy = ring->enter_ring_fd,
			.index_flag = BY_REGISTERED_RING,
			.thread = register_thread(),
		};
		return 0;
	}
	fd = fcntl(ring->ring_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*ret_link = (struct dp_uring_link) { .ring_fd_copy = fd };
	return 0;
}

void dp_uring_unlink(struct dp_uring_link *link)
{
	if (!link->index_flag && link->ring_fd_copy >= 0)
		dp_uring_close(link->ring_fd_copy);
	link->ring_fd_copy = -1;
}

static int register_call(const struct dp_uring_link *link, unsigned int what,
			 const void *argument, unsigned int count)
{
	int ret = syscall(__NR_io_uring_register, link->ring_fd_copy,
			  what | link->index_flag, argument, count);

	return ret < 0 ? -errno : ret;
}

/*
 * 0 or more, or -errno. -EEXIST: the ring belongs to another thread.
 *
 * Before Linux 6.13 the removal of a table waits, on 6.1 for some milliseconds even if
 * no request uses it. A signal undoes it (EINTR), and the next call begins again, so
 * with a timer it might never end (W13, K38). The second try has all signals blocked.
 */
static int register_change(const struct dp_uring_link *link, unsigned int what,
			   const void *argument, unsigned int count)
{
	sigset_t all, before;
	int ret;

	if (link->index_flag && link->thread != register_thread())
		return -EEXIST;
	ret = register_call(link, what, argument, count);
	if (ret != -EINTR)
		return ret;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ret = register_call(link, what, argument, count);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

int dp_uring_supports(const struct dp_uring_link *link, uint8_t opcode)
{
	enum { OPERATIONS = 256 };
	struct io_uring_probe *probe =
		calloc(1, sizeof(*probe) +
			  OPERATIONS * sizeof(struct io_uring_probe_op));
	int ret;

	if (!probe)
		return -ENOMEM;
	ret = register_change(link, IORING_REGISTER_PROBE, probe, OPERATIONS);
	if (!ret)
		ret = opcode <= probe->last_op &&
		      probe->ops[opcode].flags & IO_URING_OP_SUPPORTED;
	free(probe);
	return ret < 0 && ret != -ENOMEM ? 0 : ret;
}

int dp_uring_make_files(const struct dp_uring_link *link, const int *fd,
			uint32_t count)
{
	return register_change(link, IORING_REGISTER_FILES, fd, count);
}

int dp_uring_remove_files(const struct dp_uring_link *link)
{
	return register_change(link, IORING_UNREGISTER_FILES, NULL, 0);
}

static int register_put_file(const struct dp_uring_link *link, uint32_t slot,
			     int fd)
{
	struct io_uring_files_update update = {
		.offset = slot, .fds = (uintptr_t)&fd
	};
	int ret =
		register_change(link, IORING_REGISTER_FILES_UPDATE, &update, 1);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

int dp_uring_put_files(const struct dp_uring_link *link, uint32_t slot,
		       const int *fd, uint32_t count)
{
	int ret = 0;
	uint32_t i = 0;

	for (; !ret && i < count; i++)
		ret = register_put_file(link, slot + i, fd ? fd[i] : -1);
	if (!ret || !fd)
		return ret;
	for (i--; i--;)
		register_put_file(link, slot + i, -1);
	return ret;
}

int dp_uring_pipe(int ret_fd[2])
{
	return pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK) ? -errno : 0;
}

/* syscall() is no cancellation point, unlike ppoll(). */
static bool register_poll(int read_fd, struct timespec *timeout)
{
	struct pollfd one = { .fd = read_fd };

	return syscall(__NR_ppoll, &one, 1, timeout, NULL, 0) > 0 &&
	       one.revents & POLLHUP;
}

bool dp_uring_pipe_is_hung_up(int read_fd)
{
	return register_poll(read_fd, &(struct timespec) { 0 });
}

static struct timespec register_time_left(uint64_t now_ns, uint64_t deadline_ns)
{
	uint64_t left = deadline_ns - now_ns;

	assert(deadline_ns > now_ns);
	if (left > RECHECK_NS)
		left = RECHECK_NS;
	return (struct timespec) { .tv_nsec = left };
}

int dp_uring_pipe_await(int read_fd, uint64_t deadline_ns)
{
	struct timespec left;
	uint64_t now_ns;

	while (!dp_uring_pipe_is_hung_up(read_fd)) {
		now_ns = daxpin_deadline_ms(0);
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		left = register_time_left(now_ns, deadline_ns);
		if (register_poll(read_fd, &left))
			break;
	}
	return 0;
}

void dp_uring_close(int fd)
{
	if (fd >= 0)
		syscall(__NR_close, fd);
}

/* The ring is not mapped: a child of fork() would inherit the mapping, and keep the
 * ring. */
int dp_uring_make_ring(struct dp_uring_link *ret_link)
{
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	int fd = syscall(__NR_io_uring_setup, 1, &params);

	if (fd < 0)
		return -errno;
	*ret_link = (struct dp_uring_link) { .ring_fd_copy = fd };
	return 0;
}

int dp_uring_make_buffers(const struct dp_uring_link *link, uint32_t slots)
{
	struct io_uring_rsrc_register table = {
		.nr = slots, .flags = IORING_RSRC_REGISTER_SPARSE
	};

	return register_change(link, IORING_REGISTER_BUFFERS2, &table,
			       sizeof(table));
}

int dp_uring_remove_buffers(const struct dp_uring_link *link)
{
	return register_change(link, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

/* The buffer has no tag, see buffer_slots.c. */
int dp_uring_put_buffer(const struct dp_uring_link *link, uint32_t slot,
			void *base, size_t size)
{
	struct iovec iov = { base, size };
	__u64 no_tag = 0;
	struct io_uring_rsrc_update2 update = {
		.offset = slot, .data = (uintptr_t)&iov,
		.tags = (uintptr_t)&no_tag, .nr = 1
	};
	int ret = register_change(link, IORING_REGISTER_BUFFERS_UPDATE, &update,
				  sizeof(update));

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

int dp_uring_empty_buffers(const struct dp_uring_link *link, uint32_t first,
			   uint32_t count)
{
	static const struct iovec none[EMPTIED_AT_ONCE];
	static const __u64 no_tags[EMPTIED_AT_ONCE];
	struct io_uring_rsrc_update2 update = {
		.data = (uintptr_t)none, .tags = (uintptr_t)no_tags,
	};
	int ret = 0;

	for (uint32_t done = 0; ret >= 0 && done < count; done += ret) {
		update.offset = first + done;
		update.nr = count - done < EMPTIED_AT_ONCE ? count - done :
							     EMPTIED_AT_ONCE;
		ret = register_change(link, IORING_REGISTER_BUFFERS_UPDATE, &update,
				      sizeof(update));
		if (!ret)
			ret = -EIO;
	}
	return ret < 0 ? ret : 0;
}

static int register_clone(const struct dp_uring_link *from,
			  const struct dp_uring_link *to,
			  struct register_clone clone)
{
	assert(!from->index_flag);
	clone.from_fd = from->ring_fd_copy;
	return register_change(to, CLONE_BUFFERS, &clone, 1);
}

int dp_uring_copy_buffer(const struct dp_uring_link *from, uint32_t from_slot,
			 const struct dp_uring_link *to, uint32_t to_slot)
{
	return register_clone(from, to, (struct register_clone) {
		.flags = CLONE_REPLACES, .from_slot = from_slot,
		.to_slot = to_slot, .count = 1
	});
}

int dp_uring_copy_buffers(const struct dp_uring_link *from,
			  const struct dp_uring_link *to)
{
	return register_clone(from, to, (struct register_clone) { .flags = 0 });
}

/* ------------------------------------------------------- what is in a slot */

/*
 * How the kernel shows a table: "   2: NAME" for a slot in use, where a
 * file's name may be empty; "<none>", no line at all, or an address of all ones
 * for a free one. While the ring is busy it shows nothing, or only the table's size.
 */
static bool register_is_in_use(const char *line)
{
	return !strstr(line, ": <none>\n") && !strstr(line, ": 0xffffffffffffffff/");
}

/*
 * The first slot of the range that is in use. -ENOENT: none is; -EAGAIN: no slot of
 * the table is shown, so all are free or the ring is busy; -EBUSY: the ring is busy,
 * and the table is not shown.
 */
static int register_find_taken(FILE *fdinfo, const char *table, uint32_t first,
			       uint32_t count)
{
	bool in_table = false, ended = false;
	int taken = -EBUSY;
	unsigned int number;
	char *line = NULL;
	size_t size = 0;

	errno = 0;
	while (!ended && taken < 0 && getline(&line, &size, fdinfo) > 0) {
		if (in_table && sscanf(line, " %u:", &number) != 1)
			ended = true;
		else if (in_table)
			taken = number >= first && number - first < count &&
				register_is_in_use(line) ? (int)number : -ENOENT;
		else if (!strncmp(line, table, strlen(table))) {
			in_table = true;
			taken = -EAGAIN;
		}
		errno = 0;
	}
	/* At the end of the file, getline() does not set errno. */
	if (!ended && taken < 0 && errno)
		taken = -errno;
	free(line);
	return taken;
}

static FILE *register_fdinfo(const struct dp_uring_link *link)
{
	char path[64];

	errno = ENOENT;
	if (link->index_flag)
		return NULL;
	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", link->ring_fd_copy);
	return fopen(path, "re");
}

static int register_read_taken(const struct dp_uring_link *link, const char *table,
			       uint32_t first, uint32_t count)
{
	FILE *fdinfo = register_fdinfo(link);
	int slot;

	if (!fdinfo && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return -errno;
	if (!fdinfo)
		return -ENOENT;		/* unknown: rely on the program's options */
	slot = register_find_taken(fdinfo, table, first, count);
	fclose(fdinfo);
	return slot;
}

/* While another thread is in the ring, the table is hidden: read it again. If none of a
 * few reads shows a slot, all are free; recent kernels do not show free ones. */
static int register_taken(const struct dp_uring_link *link, const char *table,
			  uint32_t first, uint32_t count)
{
	int slot = register_read_taken(link, table, first, count);

	for (int i = 1; slot == -EBUSY && i < BUSY_TRIES; i++) {
		register_poll(-1, &(struct timespec) { .tv_nsec = BUSY_NS });
		slot = register_read_taken(link, table, first, count);
	}
	for (int i = 1; slot == -EAGAIN && i < HIDDEN_TRIES; i++)
		slot = register_read_taken(link, table, first, count);
	return slot == -EAGAIN ? -ENOENT : slot;
}

int dp_uring_taken_file(const struct dp_uring_link *link, uint32_t first,
			uint32_t count)
{
	return register_taken(link, "UserFiles:", first, count);
}

int dp_uring_taken_buffer(const struct dp_uring_link *link, uint32_t first,
			  uint32_t count)
{
	return register_taken(link, "UserBufs:", first, count);
}

/*
 * The kernel shows pipe:[INODE], or no name: before Linux 6.13 no pipe has one, and
 * then another pipe of the program in this slot is mistaken for the adapter's.
 */
static enum dp_tristate register_is_pipe(const char *line, int read_fd)
{
	const char *name = strchr(line, ':');
	char expected[64];
	struct stat st;

	assert(name);
	if (fstat(read_fd, &st))
		return DP_UNKNOWN;
	snprintf(expected, sizeof(expected), ": pipe:[%llu]\n",
		 (unsigned long long)st.st_ino);
	return !strcmp(name, ": \n") || !strcmp(name, expected) ? DP_YES : DP_NO;
}

/* The lines of the file table follow its size. */
static enum dp_tristate register_find_pipe(FILE *fdinfo, uint32_t slot,
					   int read_fd)
{
	enum dp_tristate has = DP_UNKNOWN;
	unsigned int number, files = 0;
	bool in_table = false;
	char *line = NULL;
	size_t size = 0;

	while (has == DP_UNKNOWN && getline(&line, &size, fdinfo) > 0) {
		if (!in_table)
			in_table = sscanf(line, "UserFiles: %u", &files) == 1;
		else if (sscanf(line, " %u:", &number) != 1)
			break;
		else if (number == slot)
			has = register_is_pipe(line, read_fd);
		if (in_table && files <= slot)
			has = DP_NO;
	}
	free(line);
	return has;
}

enum dp_tristate dp_uring_has_pipe(const struct dp_uring_link *link,
				   uint32_t slot, int read_fd)
{
	FILE *fdinfo = register_fdinfo(link);
	enum dp_tristate has;

	if (!fdinfo)
		return DP_UNKNOWN;
	has = register_find_pipe(fdinfo, slot, read_fd);
	fclose(fdinfo);
	return has;
}
