/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other users may have prepared files in a pool's directory, other processes may create
 * the pool at the same time, and system calls may fail. No call hangs, and none writes
 * to a file that is not this pool's (W1, W2, W14, W15).
 */
#include "media.h"
#include <sys/file.h>
#include <sys/mount.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sched.h>
#include <sys/sysmacros.h>
#include "../support/nobody.h"

/* In place of fingerprint(), which would hang on a FIFO. */
static uint64_t hash_nothing(const char *path)
{
	(void)path;
	return 0;
}

static void open_refuses(struct fixture *f, int error, const char *words)
{
	assert_fails(f, daxpin_pool_open, error, words, hash_nothing);
}

/* Removes the second segment and returns its path. */
static void remove_second(struct fixture *f, char path[128])
{
	segment_path(f, 1, path);
	assert_int_equal(unlink(path), 0);
}

/* ----------------------------------------- paths that are not regular files */

static void a_fifo_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	close_pool(f);
	remove_second(f, path);
	assert_int_equal(mkfifo(path, 0600), 0);
	open_refuses(f, -EMEDIUMTYPE, "is a FIFO");
	segment_path(f, 0, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	open_refuses(f, -EMEDIUMTYPE, "is a FIFO");
	assert_fails(f, daxpin_pool_create, -EMEDIUMTYPE, "is a FIFO",
		     hash_nothing);
}

static void open_and_create_do_not_follow_a_symbolic_link(void **state)
{
	struct fixture *f = *state;
	char path[128], target[140];
	struct stat st;

	close_pool(f);
	remove_second(f, path);
	snprintf(target, sizeof(target), "%s/other", f->path);
	write_file(f, "other", "", 0);
	assert_int_equal(symlink(target, path), 0);
	open_refuses(f, -EMEDIUMTYPE, "symbolic link");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_fails(f, daxpin_pool_create, -EMEDIUMTYPE, "symbolic link",
		     hash_nothing);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void a_directory_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	close_pool(f);
	remove_second(f, path);
	assert_int_equal(mkdir(path, 0700), 0);
	open_refuses(f, -EMEDIUMTYPE, "is a directory");
}

static void a_socket_is_refused(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	close_pool(f);
	remove_second(f, path);
	assert_true(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      sizeof(address)), 0);
	open_refuses(f, -EMEDIUMTYPE, "is a socket or a device");
	close(fd);
}

static void a_device_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	close_pool(f);
	remove_second(f, path);
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3))) {
		print_message("# skipped: no device can be made: %s\n",
			      strerror(errno));
		skip();
	}
	/* On a mount with nodev the errno differs. */
	if (open(path, O_RDWR | O_CLOEXEC) < 0)
		open_refuses(f, -EACCES, "cannot be opened");
	else
		open_refuses(f, -EMEDIUMTYPE, "is a device");
}

/* ------------------------------------------------------------- filesystems */

/* Runs fn in a child. It returns 77 if no mount namespace is available. */
static void run_in_mounts(struct fixture *f, int (*fn)(void *arg))
{
	int ret = run_child(fn, f);

	if (ret == 77) {
		print_message("# skipped: no mount namespace for this user\n");
		skip();
	}
	assert_int_equal(ret, 0);
}

static bool enter_own_mounts(void)
{
	return !unshare(CLONE_NEWNS) &&
	       !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int open_with_file_of_another_filesystem(void *arg)
{
	struct fixture *f = arg;
	char dir[128], command[600], path[128];

	snprintf(dir, sizeof(dir), "%s/other", f->path);
	segment_path(f, 1, path);
	snprintf(command, sizeof(command), "cp %s %s/", path, dir);
	if (!enter_own_mounts() || mount("tmpfs", dir, "tmpfs", 0, NULL))
		return 77;
	if (system(command))
		return 2;
	snprintf(command, sizeof(command), "%s/segment.0001", dir);
	if (mount(command, path, NULL, MS_BIND, NULL))
		return 3;
	return daxpin_pool_open(f->path, &f->options, &f->pool) != -EPERM ||
	       !strstr(f->errmsg, "on another filesystem than its directory");
}

static void a_file_of_another_filesystem_is_refused(void **state)
{
	struct fixture *f = *state;
	char dir[128];

	close_pool(f);
	snprintf(dir, sizeof(dir), "%s/other", f->path);
	assert_int_equal(mkdir(dir, 0700), 0);
	run_in_mounts(f, open_with_file_of_another_filesystem);
}

/* An open for reading works. Other calls fail with EROFS and explain it. */
static int open_and_create_read_only(void *arg)
{
	struct fixture *f = arg;
	const char *words = "is on a filesystem that is mounted read-only";

	if (!enter_own_mounts() || mount(f->path, f->path, NULL, MS_BIND, NULL) ||
	    mount(NULL, f->path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
		return 77;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) != -EROFS ||
	    !strstr(f->errmsg, words))
		return 2;
	f->options.flags = DAXPIN_POOL_READONLY;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) ||
	    daxpin_pool_close(f->pool))
		return 3;
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	if (daxpin_pool_create(f->path, &f->options, &f->pool) != -EROFS ||
	    !strstr(f->errmsg, words))
		return 4;
	strcat(f->path, "/sub");
	f->options.flags = 0;
	return daxpin_pool_create(f->path, &f->options, &f->pool) != -EROFS ||
	       !strstr(f->errmsg, words) ? 5 : 0;
}

static void open_and_create_on_a_read_only_filesystem_are_erofs(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	run_in_mounts(f, open_and_create_read_only);
	open_pool(f);
}

/* ----------------------------------------------------------- owners, modes */

static void a_directory_or_file_that_others_can_write_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	close_pool(f);
	assert_int_equal(chmod(f->path, 0770), 0);
	open_refuses(f, -EPERM, "other users can write to the directory");
	assert_int_equal(chmod(f->path, 0700), 0);
	segment_path(f, 1, path);
	assert_int_equal(chmod(path, 0666), 0);
	open_refuses(f, -EPERM, "every user can write to");
	f->options.flags = DAXPIN_POOL_ANY_OWNER;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

static void a_directory_or_file_of_another_user_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	if (geteuid()) {
		print_message("# skipped: giving a file away needs root\n");
		skip();
	}
	close_pool(f);
	segment_path(f, 1, path);
	assert_int_equal(chown(path, NOBODY, NOBODY), 0);
	open_refuses(f, -EPERM, "belongs to user 65534");
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chown(f->path, NOBODY, NOBODY), 0);
	open_refuses(f, -EPERM, "belongs to user 65534");
	f->options.flags = DAXPIN_POOL_ANY_OWNER;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

static void new_files_are_accessible_to_the_owner_only(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	segment_path(f, 1, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close_pool(f);
	assert_int_equal(unlink(path), 0);
	segment_path(f, 0, path);
	assert_int_equal(unlink(path), 0);
	f->options.mode = 0602;
	assert_fails(f, daxpin_pool_create, -EINVAL, "mode 0602", hash_nothing);
	f->options.mode = 0640;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
}

/* ------------------------------------------------------- one file, two pools */

/* Makes a second pool, whose second segment is the same file, by a hard link. */
static void make_second_pool(struct fixture *f, char second[128])
{
	char command[600];

	snprintf(second, 128, "%s/twin", f->path);
	snprintf(command, sizeof(command),
		 "mkdir -m 700 %s && cp -p %s/segment.0000 %s/ && "
		 "ln %s/segment.0001 %s/",
		 second, f->path, second, f->path, second);
	assert_int_equal(system(command), 0);
}

static void a_file_that_is_a_segment_of_two_pools_has_one_owner(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool *other = NULL;
	struct child child;
	char second[128];
	int ret;

	close_pool(f);
	make_second_pool(f, second);
	child = start_child(f, child_opens, NULL);
	assert_int_equal(child.result, 0);
	ret = daxpin_pool_open(second, &f->options, &other);
	kill_child(&child);
	assert_int_equal(ret, -EBUSY);
	assert_says(f, "segment 1 of");
}

static const char *unseen;	/* dp_os_lstat() of this name fails */

/*
 * A process claims the files of its pools, so that it does not open one twice: closing
 * the second descriptor would remove the record lock that shows that the owner is
 * alive. Here lstat() fails, so that the claim is found only after the file was opened,
 * as if another thread had claimed the file between the two calls. The lock must
 * survive that.
 */
static void a_process_cannot_open_a_file_as_a_segment_of_two_pools(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool *other = NULL;
	char second[128], path[128];
	struct flock byte = { .l_type = F_WRLCK, .l_len = 1 };
	int fd;

	close_pool(f);
	make_second_pool(f, second);
	open_pool(f);
	unseen = "segment.0001";
	assert_int_equal(daxpin_pool_open(second, &f->options, &other), -EBUSY);
	unseen = NULL;
	assert_says(f, "this process has open already");
	segment_path(f, 1, path);
	fd = -1;
	if (!fork()) {
		fd = open(path, O_RDWR);
		_exit(fcntl(fd, F_GETLK, &byte) || byte.l_type == F_UNLCK);
	}
	int status;
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	close_pool(f);
	open_pool(f);
}

static void failed_opens_leave_no_descriptor(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool *other = NULL;
	char second[128];
	int descriptors;

	close_pool(f);
	make_second_pool(f, second);
	open_pool(f);
	descriptors = count_files("/proc/self/fd");
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(daxpin_pool_open(f->path, &f->options, &other),
				 -EBUSY);
		assert_int_equal(daxpin_pool_create(f->path, &f->options,
						    &other), -EBUSY);
		assert_int_equal(daxpin_pool_open(second, &f->options, &other),
				 -EBUSY);
	}
	assert_int_equal(count_files("/proc/self/fd"), descriptors);
}

/* ------------------------------------------------------------------ creators */

static int create_and_keep(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = "precious" },
	};
	int ret;

	f->options.flags = 0;
	f->options.deadline_ns = daxpin_deadline_ms(600000);
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	if (ret)
		return ret == -EEXIST ? 1 : 2;
	if (daxpin_reserve(f->pool, 4096, 0, &ops[0].extent))
		return 3;
	ops[1].extent = ops[0].extent;
	return daxpin_publish(f->pool, ops, 2, NULL, NULL) ||
	       daxpin_pool_close(f->pool) ?
	       3 : 0;
}

#define CREATORS	4

static void run_creators(struct fixture *f)
{
	int go[2], status, winners = 0;
	char c;

	assert_int_equal(pipe(go), 0);
	for (int i = 0; i < CREATORS; i++)
		if (!fork()) {
			close(go[1]);
			if (read(go[0], &c, 1))
				_exit(4);
			_exit(create_and_keep(f));
		}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < CREATORS; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		winners += !WEXITSTATUS(status);
	}
	assert_int_equal(winners, 1);
}

/* Called once, before the next flock(). */
static void (*before_lock)(struct fixture *f);
static struct fixture *before_lock_fixture;

int __real_dp_os_flock(int fd, int operation);
int __wrap_dp_os_flock(int fd, int operation);
int __wrap_dp_os_flock(int fd, int operation)
{
	void (*now)(struct fixture *f) = before_lock;

	before_lock = NULL;
	if (now)
		now(before_lock_fixture);
	return __real_dp_os_flock(fd, operation);
}

static void create_in_a_child(struct fixture *f)
{
	assert_int_equal(run_child(create_and_keep, f), 0);
}

/* The errmsg names what is wrong with the path. */
static void create_names_the_path_that_it_cannot_create(void **state)
{
	struct fixture *f = *state;
	char path[128];

	file_name(f, "link", path);
	assert_int_equal(symlink("nowhere", path), 0);
	strcat(f->path, "/link");
	assert_create_fails(f, -ENOENT, "symbolic link to nothing");
	f->path[strlen(f->path) - 5] = '\0';
	strcat(f->path, "/none/pool");
	assert_create_fails(f, -ENOENT, "a directory of its path does not exist");
	f->path[strlen(f->path) - 10] = '\0';
	assert_int_equal(unlink(path), 0);
}

/*
 * Another process makes the pool after this one has made the file and before it locks
 * the file.
 */
static void create_is_eexist_if_another_process_made_a_pool_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	before_lock = create_in_a_child;
	before_lock_fixture = f;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EEXIST);
	open_pool(f);
	assert_int_equal(daxpin_root(f->pool, "precious", &extent), 0);
}

static void one_of_several_concurrent_creates_succeeds(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	char path[128];
	int rounds = getenv("DAXPIN_TEST_ROUNDS") ?
		     atoi(getenv("DAXPIN_TEST_ROUNDS")) : 10;

	for (int i = 0; i < rounds; i++) {
		run_creators(f);
		open_pool(f);
		assert_int_equal(daxpin_root(f->pool, "precious", &extent), 0);
		close_pool(f);
		for (int k = 0; k < 2; k++) {
			segment_path(f, k, path);
			assert_int_equal(unlink(path), 0);
		}
	}
}

/* ------------------------------------------------- each call fails in turn */

/*
 * In the first run the first call of a wrapped function fails, or ends the process, in
 * the next the second.
 */
static struct {
	bool armed;
	bool kills;
	unsigned int left;		/* calls that still succeed */
	bool failed;
} trial;

static bool must_fail(void)
{
	if (!trial.armed || trial.failed)
		return false;
	trial.failed = !trial.left--;
	if (trial.failed && trial.kills)
		raise(SIGKILL);
	return trial.failed;
}

#define FAILS(type, name, parameters, arguments, failure)		\
	type __real_##name parameters;					\
	type __wrap_##name parameters;					\
	type __wrap_##name parameters					\
	{								\
		return must_fail() ? failure : __real_##name arguments;	\
	}

FAILS(void *, malloc, (size_t size), (size), NULL)
FAILS(void *, calloc, (size_t count, size_t size), (count, size), NULL)
FAILS(void *, realloc, (void *old, size_t size), (old, size), NULL)
FAILS(void *, aligned_alloc, (size_t align, size_t size), (align, size), NULL)
FAILS(char *, strdup, (const char *text), (text), NULL)
FAILS(int, dp_os_open, (int dir, const char *name, int flags, unsigned int mode),
      (dir, name, flags, mode), -EIO)
FAILS(int, dp_os_stat, (const char *path, struct stat *st), (path, st), -EIO)

int __real_dp_os_lstat(int dir, const char *name, struct stat *st);
int __wrap_dp_os_lstat(int dir, const char *name, struct stat *st);
int __wrap_dp_os_lstat(int dir, const char *name, struct stat *st)
{
	if (must_fail() || (unseen && !strcmp(name, unseen)))
		return -EIO;
	return __real_dp_os_lstat(dir, name, st);
}

FAILS(int, dp_os_fstat, (int fd, struct stat *st), (fd, st), -EIO)
FAILS(int, dp_os_mkdir, (const char *path, unsigned int mode), (path, mode), -EIO)
FAILS(int, dp_os_fsync, (int fd), (fd), -EIO)
FAILS(int, dp_os_fallocate,
      (int fd, int mode, uint64_t offset, uint64_t length),
      (fd, mode, offset, length), -ENOSPC)

static uint64_t free_space;		/* 0: the real filesystem */

int __real_dp_os_free_space(int fd, uint64_t *ret_bytes);
int __wrap_dp_os_free_space(int fd, uint64_t *ret_bytes);
int __wrap_dp_os_free_space(int fd, uint64_t *ret_bytes)
{
	if (must_fail())
		return -EIO;
	*ret_bytes = free_space;
	return free_space ? 0 : __real_dp_os_free_space(fd, ret_bytes);
}

FAILS(int, dp_os_list, (int dir, int (*fn)(const char *, void *), void *arg),
      (dir, fn, arg), -EIO)

static bool has_no_handles;

enum dp_tristate __real_dp_os_has_handles(int fd);
enum dp_tristate __wrap_dp_os_has_handles(int fd);

enum dp_tristate __wrap_dp_os_has_handles(int fd)
{
	return has_no_handles ? DP_NO : __real_dp_os_has_handles(fd);
}

static uint64_t other_filesystem;	/* 0: the real one */

int __real_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	if (must_fail())
		return -EIO;
	if (!other_filesystem)
		return __real_dp_os_filesystem(fd, ret_magic);
	*ret_magic = other_filesystem;
	return 0;
}

FAILS(int, dp_os_map, (void *at, uint64_t size, int protection, int flags, int fd,
		       void **base),
      (at, size, protection, flags, fd, base), -ENOMEM)
FAILS(int, dp_os_advise, (void *from, uint64_t size, int advice),
      (from, size, advice), -EIO)
FAILS(int, dp_os_random, (void *to, size_t size), (to, size), -EIO)

static int socketpair_failure = -EMFILE;
static int send_failure = -ETOOMANYREFS;
static bool no_socketpair, no_send;

int __real_dp_os_socketpair(int fd[2]);
int __wrap_dp_os_socketpair(int fd[2]);
int __wrap_dp_os_socketpair(int fd[2])
{
	return no_socketpair || must_fail() ? socketpair_failure :
					      __real_dp_os_socketpair(fd);
}

int __real_dp_os_send_descriptors(int socket, const int *fd, uint32_t count);
int __wrap_dp_os_send_descriptors(int socket, const int *fd, uint32_t count);
int __wrap_dp_os_send_descriptors(int socket, const int *fd, uint32_t count)
{
	return no_send || must_fail() ? send_failure :
		__real_dp_os_send_descriptors(socket, fd, count);
}

FAILS(int, dp_os_eventfd, (void), (), -EMFILE)

static bool no_proc;			/* neither /proc nor /sys is mounted */

int __real_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size)
{
	if (must_fail())
		return -EIO;
	return no_proc ? -ENOENT : __real_dp_os_read_file(path, buffer, size);
}

static bool anchor_was_named;		/* by an error about its list of descriptors */

/* Returns 1 if create succeeded and no call was left to fail. */
static int create_with_a_failure(struct fixture *f, unsigned int successes)
{
	int descriptors = count_files("/proc/self/fd"), ret;

	trial.left = successes;
	trial.failed = false;
	trial.armed = true;
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	trial.armed = false;
	anchor_was_named |= ret == -ENOMEM &&
		strstr(f->errmsg, "no memory for a list of 2 descriptors");
	if (!ret)
		close_pool(f);
	if (count_files("/proc/self/fd") != descriptors)
		fail_msg("after %u calls: descriptors are left", successes);
	if (ret && !access(f->path, F_OK))
		fail_msg("after %u calls: %d, %s, and something is left",
			 successes, ret, f->errmsg);
	if (!ret && trial.failed)
		/* The call that failed was optional. */
		nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return !ret && !trial.failed;
}

static void a_create_whose_system_call_fails_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	char parent[sizeof(f->path)];
	unsigned int i = 0;

	strcpy(parent, f->path);
	strcat(f->path, "/sub");
	while (!create_with_a_failure(f, i))
		i++;
	strcpy(f->path, parent);
	print_message("# %u calls failed in turn\n", i);
	assert_true(i > 60);
	assert_true(anchor_was_named);
}

static int create_and_close(void *arg)
{
	struct fixture *f = arg;
	int ret;

	trial.armed = true;
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	trial.armed = false;
	return ret ? -ret : -daxpin_pool_close(f->pool);
}

/* Opens the pool, or creates it if the open refuses what a killed create has left. */
static void open_or_complete(struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret;

	f->errmsg[0] = '\0';
	ret = daxpin_pool_open(f->path, &f->options, &f->pool);
	if (ret) {
		assert_true(ret == -EUCLEAN || ret == -EMEDIUMTYPE);
		assert_says(f, f->path);
		create_pool(f);
	}
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(info.free_bytes, 60 << 20);
	close_pool(f);
}

/*
 * Whenever create is killed, open either refuses or finds the complete pool, and a
 * second create completes it. The simulator cuts a create at each store.
 */
static void a_create_killed_at_any_call_can_be_completed(void **state)
{
	struct fixture *f = *state;
	int status = -SIGKILL;
	unsigned int kills = 0;
	char path[128];

	trial.kills = true;
	for (unsigned int at = 0; status == -SIGKILL; at += 3) {
		trial.left = at;
		status = run_child(create_and_close, f);
		kills += status == -SIGKILL;
		open_or_complete(f);
		for (int i = 0; i < 2; i++) {
			segment_path(f, i, path);
			assert_int_equal(unlink(path), 0);
		}
	}
	trial.kills = false;
	assert_int_equal(status, 0);
	print_message("# %u creates were killed\n", kills);
	assert_true(kills > 20);
}

/* ---------------------------------------------------- filesystems, by number */

static void assert_refuses_filesystem(struct fixture *f, uint64_t magic,
				    const char *words)
{
	uint64_t before = metadata_fingerprint(f->path);

	other_filesystem = magic;
	open_refuses(f, -EOPNOTSUPP, words);
	assert_says(f, "DAXPIN_POOL_ANY_FILESYSTEM");
	f->options.flags = DAXPIN_POOL_READONLY;
	open_refuses(f, -EOPNOTSUPP, words);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_fails(f, daxpin_pool_create, -EOPNOTSUPP, words, hash_nothing);
	f->options.flags = 0;
	assert_true(metadata_fingerprint(f->path) == before);
	other_filesystem = 0;
}

static void filesystems_with_unreliable_locks_are_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info info = { .size = sizeof(info) };

	close_pool(f);
	assert_refuses_filesystem(f, NFS_SUPER_MAGIC, "is on NFS");
	assert_refuses_filesystem(f, SMB_SUPER_MAGIC, "is on SMB");
	assert_refuses_filesystem(f, 0xff534d42, "is on SMB");
	assert_refuses_filesystem(f, 0x65735546, "is on FUSE or virtiofs");
	assert_refuses_filesystem(f, V9FS_MAGIC, "is on 9p");
	assert_refuses_filesystem(f, OVERLAYFS_SUPER_MAGIC, "is on overlayfs");
	assert_refuses_filesystem(f, 0x12345678, "type 0x12345678");
	/* 9p reports the type of the filesystem that its server has. */
	has_no_handles = true;
	assert_refuses_filesystem(f, EXT4_SUPER_MAGIC, "is on 9p");
	assert_refuses_filesystem(f, TMPFS_MAGIC, "is on 9p");
	has_no_handles = false;
	other_filesystem = OVERLAYFS_SUPER_MAGIC;
	f->options.flags = DAXPIN_POOL_ANY_FILESYSTEM;
	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	open_pool(f);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(info.source, DAXPIN_SOURCE_DISK);
	assert_int_equal(daxpin_anchor_fd(f->pool), -EOPNOTSUPP);
	close_pool(f);
	f->options.flags = 0;
	other_filesystem = 0;
}

/* ------------------------------------------------------- /proc and /sys (W11) */

static void a_pool_of_the_same_user_can_be_opened_without_proc(void **state)
{
	struct fixture *f = *state;

	if (geteuid() == NOBODY) {
		print_message("# skipped: this user is the overflow user\n");
		skip();
	}
	no_proc = true;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), 0);
	close_pool(f);
	open_pool(f);
	close_pool(f);
	no_proc = false;
}

/*
 * The overflow uid, 65534, also stands for every user that this user namespace does not
 * have. Without /proc/self/uid_map the library cannot tell the two apart.
 */
static int open_without_proc_as_overflow_user(void *arg)
{
	struct fixture *f = arg;
	const char *words = "/proc/self/uid_map, which shows whether it is, cannot be read";

	if (!drop_privileges(NOBODY, 1 << 20))
		return 2;
	if (daxpin_pool_create(f->path, &f->options, &f->pool))
		return 3;
	if (daxpin_pool_close(f->pool))
		return 4;
	f->pool = NULL;
	no_proc = true;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) != -EPERM ||
	    !strstr(f->errmsg, words))
		return 5;
	strcat(f->path, "/sub");
	if (daxpin_pool_create(f->path, &f->options, &f->pool) != -EPERM ||
	    !strstr(f->errmsg, words))
		return 6;
	return access(f->path, F_OK) ? 0 : 7;
}

static void without_proc_files_of_the_overflow_user_are_refused(void **state)
{
	struct fixture *f = *state;

	if (geteuid() || chown(f->path, NOBODY, NOBODY)) {
		print_message("# skipped: becoming another user needs root\n");
		skip();
	}
	assert_int_equal(run_child(open_without_proc_as_overflow_user, f), 0);
}

/* --------------------------------------------------------------- descriptors */

/* Asserts that create and open fail without the socket and leave nothing behind. */
static void assert_no_lock_socket(struct fixture *f, int error, const char *words)
{
	uint64_t before = metadata_fingerprint(f->path);
	int descriptors = count_files("/proc/self/fd");
	char *end = f->path + strlen(f->path);

	open_refuses(f, error, words);
	assert_true(metadata_fingerprint(f->path) == before);
	strcpy(end, "/sub");
	assert_fails(f, daxpin_pool_create, error, words, hash_nothing);
	assert_int_equal(access(f->path, F_OK), -1);
	*end = '\0';
	assert_int_equal(count_files("/proc/self/fd"), descriptors);
}

static void a_failed_socketpair_is_explained_in_errmsg(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	no_socketpair = true;
	socketpair_failure = -EAFNOSUPPORT;
	assert_no_lock_socket(f, -EAFNOSUPPORT, "RestrictAddressFamilies=AF_UNIX");
	socketpair_failure = -EACCES;
	assert_no_lock_socket(f, -EACCES,
			      "the socket that keeps the pool's files locked");
	socketpair_failure = -EMFILE;
	assert_no_lock_socket(f, -EMFILE, "RLIMIT_NOFILE is");
	no_socketpair = false;
	no_send = true;
	send_failure = -ETOOMANYREFS;
	assert_no_lock_socket(f, -ETOOMANYREFS, "raise the limit (ulimit -n");
	send_failure = -EWOULDBLOCK;
	assert_no_lock_socket(f, -ENOMEM, "net.core.wmem_default");
	send_failure = -ETOOMANYREFS;
	no_send = false;
	open_pool(f);
}

static void an_open_without_enough_descriptors_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct rlimit many, few;
	int ret = -EMFILE, steps = 0, descriptors;
	uint64_t before;

	close_pool(f);
	before = metadata_fingerprint(f->path);
	descriptors = count_files("/proc/self/fd");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &many), 0);
	for (few = many, few.rlim_cur = 3; ret == -EMFILE; few.rlim_cur++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		f->errmsg[0] = '\0';
		ret = daxpin_pool_open(f->path, &f->options, &f->pool);
		setrlimit(RLIMIT_NOFILE, &many);
		if (ret == -EMFILE) {
			steps++;
			assert_says(f, "RLIMIT_NOFILE is");
			assert_int_equal(count_files("/proc/self/fd"),
					 descriptors);
			assert_true(metadata_fingerprint(f->path) == before);
		}
	}
	assert_int_equal(ret, 0);
	assert_true(steps > 4);
}

static void a_create_without_enough_descriptors_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct rlimit many, few;
	int ret = -EMFILE;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &many), 0);
	f->options.pool_size = 1024 * MIB;
	for (few = many, few.rlim_cur = 4; ret == -EMFILE; few.rlim_cur++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		f->errmsg[0] = '\0';
		ret = daxpin_pool_create(f->path, &f->options, &f->pool);
		setrlimit(RLIMIT_NOFILE, &many);
		if (ret == -EMFILE) {
			assert_says(f, "RLIMIT_NOFILE is");
			assert_int_equal(count_files(f->path), 0);
		}
	}
	assert_int_equal(ret, 0);
	assert_true(few.rlim_cur > 32);
}

/* -------------------------------------------------------- open or create */

static int open_or_create(struct fixture *f)
{
	f->options.flags = DAXPIN_POOL_CREATE;
	return daxpin_pool_open(f->path, &f->options, &f->pool);
}

static void open_with_create_creates_a_pool_only_if_there_is_none(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info made, found;
	struct daxpin_extent extent;

	assert_int_equal(open_or_create(f), 0);
	assert_string_equal(f->errmsg, "");
	made = pool_info(f);
	extent = live(f, 4096);
	close_pool(f);
	assert_int_equal(open_or_create(f), 0);
	assert_string_equal(f->errmsg, "");
	found = pool_info(f);
	assert_memory_equal(found.uuid, made.uuid, 16);
	assert_int_equal(found.epoch, made.epoch + 1);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
}

static int open_in_turn(void *arg)
{
	struct fixture *f = arg;
	int ret;

	f->options.deadline_ns = DAXPIN_NO_DEADLINE;
	ret = open_or_create(f);
	return ret ? -ret : -daxpin_pool_close(f->pool);
}

/* One process creates the pool, and every process opens it, one after the other. */
static void concurrent_opens_with_create_all_succeed(void **state)
{
	enum { PROCESSES = 6 };
	struct fixture *f = *state;
	int status;

	for (int i = 0; i < PROCESSES; i++)
		if (!fork())
			_exit(open_in_turn(f));
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).epoch, 1 + PROCESSES);
}

static void open_with_create_opens_a_pool_that_was_made_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	before_lock = create_in_a_child;
	before_lock_fixture = f;
	assert_int_equal(open_or_create(f), 0);
	assert_string_equal(f->errmsg, "");
	assert_int_equal(daxpin_root(f->pool, "precious", &extent), 0);
}

static void open_with_create_refuses_a_foreign_file(void **state)
{
	struct fixture *f = *state;
	char path[128], text[32] = "";
	FILE *file;

	segment_path(f, 0, path);
	file = fopen(path, "w");
	assert_true(fputs("text of another program", file) >= 0 && !fclose(file));
	assert_int_equal(truncate(path, 4 * MIB), 0);
	assert_int_equal(open_or_create(f), -EMEDIUMTYPE);
	assert_string_not_equal(f->errmsg, "");
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "text of another program");
}

static void open_with_create_and_readonly_or_uuid_is_refused(void **state)
{
	struct fixture *f = *state;

	f->options.flags = DAXPIN_POOL_CREATE | DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -EINVAL);
	assert_says(f, "leave one out");
	f->options.uuid[0] = 1;
	assert_int_equal(open_or_create(f), -EINVAL);
	assert_says(f, "uuid");
	assert_int_equal(count_files(f->path), 0);
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EINVAL);
	assert_says(f, "0x40");
}

static void open_with_a_size_refuses_a_smaller_pool(void **state)
{
	struct fixture *f = *state;

	f->options.pool_size = 64 * MIB + 1;
	assert_int_equal(open_or_create(f), 0);
	assert_int_equal(pool_info(f).media_bytes, 66 * MIB);
	close_pool(f);
	f->options.pool_size = 66 * MIB;
	assert_int_equal(open_or_create(f), 0);
	close_pool(f);
	f->options.pool_size = 66 * MIB + 1;
	assert_int_equal(open_or_create(f), -ENOSPC);
	assert_says(f, "at least 69206017");
	f->options.flags = 0;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -ENOSPC);
	f->options.pool_size = 0;
	open_pool(f);
}

static void create_without_a_size_fails(struct fixture *f, int error, const char *words)
{
	uint32_t flags = f->options.flags;

	f->options.pool_size = 0;
	f->options.flags |= DAXPIN_POOL_CREATE;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), error);
	assert_says(f, words);
	assert_int_equal(count_files(f->path), 0);
	f->options.flags = flags;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), error);
	assert_says(f, words);
	assert_int_equal(count_files(f->path), 0);
}

/* The free space of tmpfs is the machine's memory. */
static void a_new_pool_on_tmpfs_needs_a_size(void **state)
{
	struct fixture *f = *state;
	uint64_t size = f->options.pool_size;

	/* So that a wrong create does not take the memory. */
	free_space = 100 * MIB;
	create_without_a_size_fails(f, -EINVAL, "give a pool_size of 32 MiB or more");
	free_space = 0;
	f->options.pool_size = size;
	assert_int_equal(open_or_create(f), 0);
	close_pool(f);
	/* One that exists keeps its size. */
	f->options.pool_size = 0;
	assert_int_equal(open_or_create(f), 0);
	assert_int_equal(pool_info(f).media_bytes, size);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), -EINVAL);
	assert_says(f, "give a pool_size");
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).media_bytes, size);
}

/* One whose type is unknown is used as one on a disk, if that is allowed. */
static void be_another_filesystem(struct fixture *f, uint64_t magic)
{
	f->options.flags = DAXPIN_POOL_ANY_FILESYSTEM;
	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	other_filesystem = magic;
}

/* The minimum is satisfied, though no new pool could be so small. */
static void a_pool_is_opened_whatever_minimum_it_satisfies(void **state)
{
	struct fixture *f = *state;

	f->options.pool_size = 64 * MIB;
	create_pool(f);
	close_pool(f);
	f->options.pool_size = MIB;
	f->options.flags |= DAXPIN_POOL_CREATE;
	open_pool(f);
	assert_int_equal(pool_info(f).media_bytes, 64 * MIB);
}

/* ramfs and hugetlbfs may report none, and have no limit but the machine's memory. */
static void a_new_pool_needs_a_size_where_free_space_is_unknown(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small = { 16 * MIB, 16 * MIB };

	/* Less than a segment, so that a wrong create does not take the memory. */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	be_another_filesystem(f, RAMFS_MAGIC);
	free_space = UINT64_MAX;
	create_without_a_size_fails(f, -EINVAL, "does not report its free space");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	other_filesystem = free_space = 0;
	f->options.pool_size = 64 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).media_bytes, 64 * MIB);
}

static void a_new_pool_without_a_size_takes_the_free_space_of_a_disk(void **state)
{
	struct fixture *f = *state;

	be_another_filesystem(f, ADFS_SUPER_MAGIC);
	free_space = 32 * MIB;
	create_without_a_size_fails(f, -ENOSPC, "free some space");
	free_space = 100 * MIB;
	f->options.flags |= DAXPIN_POOL_CREATE;
	open_pool(f);
	/* A 64th of the space is left to the filesystem, so 98.4 MiB remain. */
	assert_int_equal(pool_info(f).media_bytes, 98 * MIB);
	/* The next open needs no free space, though most of the file is a hole. */
	close_pool(f);
	for (uint64_t chunk = 8; chunk < 49; chunk++)
		punch(f, 0, chunk * 2 * MIB);
	free_space = 1;
	open_pool(f);
	other_filesystem = free_space = 0;
	assert_int_equal(pool_info(f).media_bytes, 98 * MIB);
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_fifo_is_refused, fixture_setup),
		TEST(open_and_create_do_not_follow_a_symbolic_link, fixture_setup),
		TEST(a_directory_is_refused, fixture_setup),
		TEST(a_directory_or_file_that_others_can_write_is_refused,
		     fixture_setup),
		TEST(a_directory_or_file_of_another_user_is_refused, fixture_setup),
		TEST(new_files_are_accessible_to_the_owner_only, fixture_setup),
		TEST(a_file_that_is_a_segment_of_two_pools_has_one_owner,
		     fixture_setup),
		TEST(a_process_cannot_open_a_file_as_a_segment_of_two_pools,
		     fixture_setup),
		TEST(failed_opens_leave_no_descriptor, fixture_setup),
		TEST(create_names_the_path_that_it_cannot_create, empty_setup),
		TEST(create_is_eexist_if_another_process_made_a_pool_meanwhile,
		     empty_setup),
		TEST(one_of_several_concurrent_creates_succeeds, empty_setup),
		TEST(a_create_whose_system_call_fails_leaves_nothing, empty_setup),
		TEST(a_create_killed_at_any_call_can_be_completed, empty_setup),
		TEST(a_create_without_enough_descriptors_leaves_nothing, empty_setup),
		TEST(an_open_without_enough_descriptors_changes_nothing, fixture_setup),
		TEST(a_failed_socketpair_is_explained_in_errmsg, fixture_setup),
		TEST(filesystems_with_unreliable_locks_are_refused,
		     fixture_setup),
		TEST(a_pool_of_the_same_user_can_be_opened_without_proc, empty_setup),
		TEST(without_proc_files_of_the_overflow_user_are_refused, empty_setup),
		TEST(open_with_create_creates_a_pool_only_if_there_is_none,
		     empty_setup),
		TEST(concurrent_opens_with_create_all_succeed, empty_setup),
		TEST(open_with_create_opens_a_pool_that_was_made_meanwhile,
		     empty_setup),
		TEST(open_with_create_refuses_a_foreign_file, empty_setup),
		TEST(open_with_create_and_readonly_or_uuid_is_refused, empty_setup),
		TEST(open_with_a_size_refuses_a_smaller_pool, empty_setup),
		TEST(a_new_pool_without_a_size_takes_the_free_space_of_a_disk,
		     empty_setup),
		TEST(a_new_pool_on_tmpfs_needs_a_size, empty_setup),
		TEST(a_new_pool_needs_a_size_where_free_space_is_unknown, empty_setup),
		TEST(a_pool_is_opened_whatever_minimum_it_satisfies, empty_setup),
		TEST(a_socket_is_refused, fixture_setup),
		TEST(a_device_is_refused, fixture_setup),
		TEST(a_file_of_another_filesystem_is_refused, fixture_setup),
		TEST(open_and_create_on_a_read_only_filesystem_are_erofs,
		     fixture_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
