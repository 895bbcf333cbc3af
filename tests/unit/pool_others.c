/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other processes rename, mount over, truncate or protect the files and the directory
 * of a pool, or use them by another path. A container hides or replaces files of /proc
 * and /sys. No call hangs, and no pool is lost (W1, W2, W10, W11, W14).
 */
#include "media.h"
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include "../support/nobody.h"

#define HANG_S		120u		/* limit of a call that must end */

/* Moves this process into a mount namespace of its own. */
static bool enter_own_mounts(void)
{
	return !unshare(CLONE_NEWNS) &&
	       !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static uint64_t used_bytes(struct fixture *f)
{
	struct daxpin_pool_info info = pool_info(f);

	return info.usable_bytes - info.free_bytes;
}

static void remove_files(struct fixture *f)
{
	char path[128];

	for (uint32_t i = 0; i < 2; i++) {
		segment_path(f, i, path);
		assert_int_equal(unlink(path), 0);
	}
}

/* Lets an owner die with the pool open, so that the next open reads its record. */
static void leave_open(struct fixture *f)
{
	struct child child = start_child(f, child_opens, NULL);

	assert_int_equal(child.result, 0);
	kill_child(&child);
}

/* ---------------------------------------------------------------- containers */

/* What is mounted on target. A source with a leading '+' is in the pool's directory. */
static const struct hiding_mount {
	const char *name, *source, *target, *type;
	const char *data;
} hiding_mounts[] = {
	{ "another boot id", "+id", "/proc/sys/kernel/random/boot_id", NULL, NULL },
	{ "no boot id", "+text", "/proc/sys/kernel/random/boot_id", NULL, NULL },
	{ "a FIFO as boot id", "+fifo", "/proc/sys/kernel/random/boot_id", NULL, NULL },
	{ "zeroes as boot id", "/dev/zero", "/proc/sys/kernel/random/boot_id", NULL,
	  NULL },
	{ "an empty boot id", "/dev/null", "/proc/sys/kernel/random/boot_id", NULL,
	  NULL },
	{ "no /proc/sys/kernel/random", "none", "/proc/sys/kernel/random", "tmpfs",
	  NULL },
	{ "no /proc/sys", "none", "/proc/sys", "tmpfs", NULL },
	{ "no /sys", "none", "/sys", "tmpfs", NULL },
	{ "an empty /proc", "none", "/proc", "tmpfs", NULL },
	{ "a FIFO as list of locks", "+fifo", "/proc/locks", NULL, NULL },
	{ "a FIFO as list of mounts", "+fifo", "/proc/self/mountinfo", NULL, NULL },
	{ "a FIFO as status", "+fifo", "/proc/self/status", NULL, NULL },
	{ "a FIFO as map of users", "+fifo", "/proc/self/uid_map", NULL, NULL },
	{ "hidepid=2", "proc", "/proc", "proc", "hidepid=2" },
	{ "subset=pid", "proc", "/proc", "proc", "subset=pid" },
};

static struct fixture *fixture_under_mount;

/* Opens the pool and creates another. Returns 77 if the kernel refuses the mount. */
static int open_and_create_under_mount(void *arg)
{
	const struct hiding_mount *hiding = arg;
	struct fixture *f = fixture_under_mount;
	char source[140];

	snprintf(source, sizeof(source), "%s%s%s",
		 *hiding->source == '+' ? f->path : "",
		 *hiding->source == '+' ? "/" : "",
		 hiding->source + (*hiding->source == '+'));
	if (!enter_own_mounts() || mount(source, hiding->target, hiding->type,
					 hiding->type ? 0 : MS_BIND, hiding->data))
		return 77;
	alarm(HANG_S);
	if (daxpin_pool_open(f->path, &f->options, &f->pool) ||
	    daxpin_pool_close(f->pool))
		return 2;
	strcat(f->path, "/sub");
	return daxpin_pool_create(f->path, &f->options, &f->pool) ||
	       daxpin_pool_close(f->pool) ? 3 : 0;
}

static void pools_can_be_opened_whatever_a_container_hides_or_replaces(void **state)
{
	struct fixture *f = *state;
	unsigned int mounted = 0;
	char path[128];
	int ret;

	close_pool(f);
	write_file(f, "id", "11111111-2222-3333-4444-555555555555\n", 37);
	write_file(f, "text", "container\n", 10);
	file_name(f, "fifo", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fixture_under_mount = f;
	for (size_t i = 0; i < sizeof(hiding_mounts) / sizeof(hiding_mounts[0]); i++) {
		leave_open(f);
		ret = run_child(open_and_create_under_mount, (void *)&hiding_mounts[i]);
		if (ret == 77)
			print_message("# skipped: %s: %s\n", hiding_mounts[i].name,
				      "it cannot be mounted here");
		else if (ret)
			fail_msg("%s: %d", hiding_mounts[i].name, ret);
		else
			mounted++;
		file_name(f, "sub/segment.0000", path);
		unlink(path);
		file_name(f, "sub/segment.0001", path);
		unlink(path);
		file_name(f, "sub", path);
		rmdir(path);
	}
	if (!mounted) {
		print_message("# skipped: no mount namespace for this user\n");
		skip();
	}
}

/* ------------------------------------------------------------------ directories */

static void a_sticky_directory_that_all_can_write_is_refused(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	assert_int_equal(chmod(f->path, 01777), 0);
	assert_open_fails(f, -EPERM, "other users can write to the directory");
	assert_int_equal(chmod(f->path, 01755), 0);
	open_pool(f);
	close_pool(f);
}

/* struct posix_acl_xattr: the owner and `user` have all rights. */
static int set_acl(const char *path, const char *name, uint32_t user)
{
	struct {
		uint32_t version;
		struct {
			uint16_t tag, rights;
			uint32_t id;
		} entry[5];
	} acl = { 2, { { 1, 7, -1u }, { 2, 7, user }, { 4, 0, -1u },
		       { 16, 7, -1u }, { 32, 0, -1u } } };

	return setxattr(path, name, &acl, sizeof(acl), 0);
}

static void a_directory_that_an_acl_lets_others_write_is_refused(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	if (set_acl(f->path, "system.posix_acl_access", NOBODY)) {
		print_message("# skipped: no ACLs here: %s\n", strerror(errno));
		skip();
	}
	assert_open_fails(f, -EPERM, "other users can write to the directory");
	assert_int_equal(removexattr(f->path, "system.posix_acl_access"), 0);
	assert_int_equal(chmod(f->path, 0700), 0);
	open_pool(f);
	close_pool(f);
}

/* The mode with which create makes a file masks the rights of a default ACL. */
static void a_default_acl_gives_other_users_no_right_to_new_files(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	mkdir(f->path, 0700);
	if (set_acl(f->path, "system.posix_acl_default", NOBODY)) {
		print_message("# skipped: no ACLs here: %s\n", strerror(errno));
		skip();
	}
	create_pool(f);
	segment_path(f, 1, path);
	assert_int_equal(stat(path, &st), 0);
	/* With an ACL, the bits of the group are its mask. */
	assert_int_equal(st.st_mode & 0777, 0600);
	close_pool(f);
}

static void open_refuses_an_immutable_file_except_for_reading(void **state)
{
	struct fixture *f = *state;
	int flags = FS_IMMUTABLE_FL, none = 0, fd;
	char path[128];

	close_pool(f);
	segment_path(f, 1, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags)) {
		close(fd);
		print_message("# skipped: no immutable files here: %s\n",
			      strerror(errno));
		skip();
	}
	assert_open_fails(f, -EPERM, "if it is immutable or append-only");
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	close_pool(f);
	f->options.flags = 0;
	assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &none), 0);
	close(fd);
	open_pool(f);
	close_pool(f);
}

/* Then another pool is created at the old path. Each pool keeps its own files. */
static void a_pool_survives_a_rename_of_its_directory_while_it_is_open(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool *moved = f->pool;
	unsigned char uuid[16];
	char path[140];

	memcpy(uuid, pool_info(f).uuid, sizeof(uuid));
	live(f, 64 * 1024);
	snprintf(path, sizeof(path), "%s.moved", f->path);
	assert_int_equal(rename(f->path, path), 0);
	create_pool(f);
	assert_memory_not_equal(pool_info(f).uuid, uuid, sizeof(uuid));
	close_pool(f);
	f->pool = moved;
	assert_memory_equal(pool_info(f).uuid, uuid, sizeof(uuid));
	live(f, 64 * 1024);
	close_pool(f);
	open_pool(f);
	close_pool(f);
	remove_files(f);
	assert_int_equal(rename(path, f->path), 0);
	memcpy(f->options.uuid, uuid, sizeof(uuid));
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	assert_int_equal(used_bytes(f), 2 * 64 * 1024);
	close_pool(f);
}

static int close_under_a_mount(void *arg)
{
	struct fixture *f = arg;

	if (!enter_own_mounts() ||
	    daxpin_pool_open(f->path, &f->options, &f->pool))
		return 77;
	if (mount("none", f->path, "tmpfs", 0, NULL))
		return 77;
	live(f, 64 * 1024);
	return daxpin_pool_close(f->pool) ? 2 : 0;
}

static void a_pool_survives_a_mount_over_its_directory_while_it_is_open(void **state)
{
	struct fixture *f = *state;
	int ret;

	close_pool(f);
	ret = run_child(close_under_a_mount, f);
	if (ret == 77) {
		print_message("# skipped: no mount namespace for this user\n");
		skip();
	}
	assert_int_equal(ret, 0);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	assert_int_equal(used_bytes(f), 64 * 1024);
	close_pool(f);
}

/* -------------------------------------------------------------- overlayfs */

/*
 * Mounts an overlay on "over/merged" in the pool's directory, which is its lower
 * directory.
 * Returns false if this process may not, or if the kernel has no overlayfs.
 */
static bool mount_overlay(struct fixture *f)
{
	static const char *const name[] = { "over/upper", "over/work", "over/merged" };
	char path[128], options[400];

	file_name(f, "over", path);
	if (!enter_own_mounts() || mkdir(path, 0700) ||
	    mount("none", path, "tmpfs", 0, "mode=0700"))
		return false;
	snprintf(options, sizeof(options),
		 "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", f->path, path, path);
	for (int i = 0; i < 3; i++) {
		file_name(f, name[i], path);
		if (mkdir(path, 0700))
			return false;
	}
	return !mount("none", path, "overlay", 0, options);
}

/* Is the failure of a call due to overlayfs, and does errmsg name it? */
static bool is_overlay_refused(const struct fixture *f, int ret)
{
	return ret == -EOPNOTSUPP && strstr(f->errmsg, "overlayfs");
}

/* Returns 77 if no overlay can be mounted here. */
static int use_on_overlayfs(void *arg)
{
	struct fixture *f = arg;
	char upper[128];
	int ret;

	if (!mount_overlay(f))
		return 77;
	file_name(f, "over/upper", upper);
	strcat(f->path, "/over/merged");
	ret = daxpin_pool_open(f->path, &f->options, &f->pool);
	if (!is_overlay_refused(f, ret))
		return 2;
	strcat(f->path, "/new");
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	if (!is_overlay_refused(f, ret))
		return 3;
	/* Fails if a file was copied up or is left. */
	return rmdir(upper) ? 4 : 0;
}

/* overlayfs copies a file to the upper directory when it is opened for writing. */
static void pools_on_overlayfs_are_refused_before_a_file_is_opened(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int ret;

	close_pool(f);
	ret = run_child(use_on_overlayfs, f);
	file_name(f, "over", path);
	rmdir(path);
	if (ret == 77) {
		print_message("# skipped: no overlayfs can be mounted here\n");
		skip();
	}
	assert_int_equal(ret, 0);
}

/* ------------------------------------------------------- one pool, several paths */

#define NAMES	4u

struct creator {
	struct fixture *f;
	unsigned int number;
};

static int create_by_path(void *arg, int fd)
{
	static const char *const end[NAMES] = { "", "/.", "/../%s", ".link" };
	struct creator *creator = arg;
	struct fixture *f = creator->f;
	char path[300], last[140];
	int ret;

	snprintf(last, sizeof(last), "%s", strrchr(f->path, '/') + 1);
	if (creator->number == 2)
		snprintf(path, sizeof(path), "%s/../%s", f->path, last);
	else
		snprintf(path, sizeof(path), "%s%s", f->path,
			 end[creator->number]);
	if (!send_step(fd) || !await_step(fd))
		return 3;
	ret = daxpin_pool_create(path, &f->options, &f->pool);
	if (!ret)
		ret = daxpin_pool_close(f->pool) ? 4 : 0;
	return ret == -EEXIST || ret == -EBUSY ? 1 : ret ? 2 : 0;
}

static unsigned int run_creators(struct fixture *f)
{
	struct creator creator[NAMES];
	struct child child[NAMES];
	unsigned int won = 0;
	char step;
	int ret;

	for (unsigned int i = 0; i < NAMES; i++) {
		creator[i] = (struct creator) { f, i };
		child[i] = fork_child(create_by_path, &creator[i]);
		assert_true(receive_message(child[i].fd, &step, 1));
	}
	for (unsigned int i = 0; i < NAMES; i++)
		assert_true(send_message(child[i].fd, &step, 1));
	for (unsigned int i = 0; i < NAMES; i++) {
		ret = end_child(&child[i]);
		assert_in_range(ret, 0, 1);
		won += !ret;
	}
	return won;
}

static void one_of_several_creates_by_different_paths_succeeds(void **state)
{
	int rounds = getenv("DAXPIN_TEST_ROUNDS") ?
		     atoi(getenv("DAXPIN_TEST_ROUNDS")) : 10;
	struct fixture *f = *state;
	char link[140];

	mkdir(f->path, 0700);
	snprintf(link, sizeof(link), "%s.link", f->path);
	assert_int_equal(symlink(f->path, link), 0);
	f->options.deadline_ns = daxpin_deadline_ms(1000 * HANG_S);
	for (int i = 0; i < rounds; i++) {
		assert_int_equal(run_creators(f), 1);
		open_pool(f);
		close_pool(f);
		remove_files(f);
	}
	unlink(link);
}

/* ------------------------------------------------------------------ sizes */

/* Truncates a segment of an open pool, after which a store to it is a SIGBUS. */
static int close_after_truncate(void *arg)
{
	struct fixture *f = arg;
	char path[128];

	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 2;
	segment_path(f, 1, path);
	if (truncate(path, 0))
		return 3;
	return daxpin_pool_close(f->pool) != -ESTALE ||
	       daxpin_pool_close(f->pool) ? 4 : 0;
}

static void close_and_open_report_a_file_that_was_truncated_while_open(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	assert_int_equal(run_child(close_after_truncate, f), 0);
	assert_open_fails(f, -EUCLEAN, "segment 1 of");
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pools_can_be_opened_whatever_a_container_hides_or_replaces,
		     fixture_setup),
		TEST(a_sticky_directory_that_all_can_write_is_refused, fixture_setup),
		TEST(a_directory_that_an_acl_lets_others_write_is_refused,
		     fixture_setup),
		TEST(a_default_acl_gives_other_users_no_right_to_new_files,
		     empty_setup),
		TEST(open_refuses_an_immutable_file_except_for_reading, fixture_setup),
		TEST(a_pool_survives_a_rename_of_its_directory_while_it_is_open,
		     fixture_setup),
		TEST(a_pool_survives_a_mount_over_its_directory_while_it_is_open,
		     fixture_setup),
		TEST(pools_on_overlayfs_are_refused_before_a_file_is_opened,
		     fixture_setup),
		TEST(one_of_several_creates_by_different_paths_succeeds, empty_setup),
		TEST(close_and_open_report_a_file_that_was_truncated_while_open,
		     fixture_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
