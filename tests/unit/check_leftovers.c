/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What daxpin_leftovers() finds in threads and long lists, and what it reports if it
 * may not look. tests/unit/owner_lock_holder.c has the kinds of leftovers.
 */
#include "media.h"
#include "needs.h"
#include <daxpin-status.h>
#include <dirent.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include "os/process.h"
#include "owner/rdma_devices.h"
#include "util/util.h"

/* -------------------------------------------------------- what the test replaces */

static size_t memory_max = SIZE_MAX;	/* for which realloc() works */
static int netlink_error;
static bool devices_are_hidden;		/* sysfs does not show which are open */

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
	return size > memory_max ? NULL : __real_realloc(memory, size);
}

int __real_dp_os_netlink(int protocol);
int __wrap_dp_os_netlink(int protocol);
int __wrap_dp_os_netlink(int protocol)
{
	return netlink_error ? netlink_error : __real_dp_os_netlink(protocol);
}

bool __real_dp_devices_none_is_open(void);
bool __wrap_dp_devices_none_is_open(void);
bool __wrap_dp_devices_none_is_open(void)
{
	return !devices_are_hidden && __real_dp_devices_none_is_open();
}

static bool kcmp_is_missing;		/* as in a kernel without it */

enum dp_tristate __real_dp_os_share_files(int thread, int other);
enum dp_tristate __wrap_dp_os_share_files(int thread, int other);
enum dp_tristate __wrap_dp_os_share_files(int thread, int other)
{
	return kcmp_is_missing ? DP_UNKNOWN : __real_dp_os_share_files(thread, other);
}

/* --------------------------------------- a dead owner, and a child that outlives it */

struct family {
	struct fixture *f;
	int (*keep)(struct fixture *f);	/* the child; 0, or it cannot do it */
	pid_t owner, child;
};

static char *pool_base;			/* in the owner and its child */

static void pause_forever(void)
{
	for (;;)
		pause();
}

static void keep_and_pause(const struct family *family, int to_parent)
{
	int ret;

	prctl(PR_SET_PDEATHSIG, 0);
	/* keep() may close the descriptors up to 199. */
	if (dup2(to_parent, 200) != 200)
		_exit(1);
	ret = family->keep(family->f);
	if (write(200, &ret, sizeof(ret)) != sizeof(ret) || ret)
		_exit(1);
	close(200);
	pause_forever();
}

/* The owner: sends the child's pid, and then what its keep() returned. */
static int own(void *arg, int parent)
{
	const struct family *family = arg;
	struct daxpin_segment segment;
	int ends[2], ret = -1;
	pid_t pid;

	if (daxpin_pool_open(family->f->path, &family->f->options, &family->f->pool) ||
	    daxpin_segment(family->f->pool, 0, &segment) || pipe(ends))
		return 1;
	pool_base = segment.base;
	pid = fork();
	if (!pid)
		keep_and_pause(family, ends[1]);
	close(ends[1]);
	if (pid < 0 || read(ends[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -1;
	send_message(parent, &pid, sizeof(pid));
	send_message(parent, &ret, sizeof(ret));
	pause_forever();
	return 1;
}

static pid_t living;			/* the child of a dead owner, or 0 */

/* Returns when the owner is dead. */
static struct family leave_child(struct fixture *f, int (*keep)(struct fixture *f))
{
	struct family family = { .f = f, .keep = keep };
	struct child owner;
	int ret = -1;

	close_pool(f);
	owner = fork_child(own, &family);
	family.owner = owner.pid;
	assert_true(receive_message(owner.fd, &family.child, sizeof(family.child)));
	assert_true(receive_message(owner.fd, &ret, sizeof(ret)));
	living = family.child;
	kill_child(&owner);
	assert_int_equal(ret, 0);
	return family;
}

/* This process is the subreaper, so the child is its own after the owner's death. */
static void end_living(void)
{
	if (!living)
		return;
	kill(living, SIGKILL);
	assert_int_equal(waitpid(living, NULL, 0), living);
	living = 0;
}

static void end_family(const struct family *family)
{
	end_living();
	open_pool(family->f);
}

/* ------------------------------------------------------------------- the list */

struct list {
	pid_t child;
	uint32_t kinds;			/* a bit each: of the child, or of no process */
	bool thread_is_named;
	uint32_t tables;		/* of descriptors, in that child */
	char unknown[4000];		/* the sentences of that kind */
};

static void note(const struct daxpin_leftover *leftover, void *arg)
{
	struct list *list = arg;
	size_t length = strlen(list->unknown);
	char words[64];

	print_message("# kind %u: %s\n", leftover->kind, leftover->sentence);
	if (leftover->kind == DAXPIN_LEFTOVER_UNKNOWN)
		snprintf(list->unknown + length, sizeof(list->unknown) - length, "%s\n",
			 leftover->sentence);
	if (leftover->pid && leftover->pid != list->child)
		return;
	list->kinds |= 1u << leftover->kind;
	list->tables += leftover->kind == DAXPIN_LEFTOVER_DESCRIPTOR;
	snprintf(words, sizeof(words), " of process %d (", list->child);
	if (!strncmp(leftover->sentence, "thread ", 7) &&
	    strstr(leftover->sentence, words))
		list->thread_is_named = true;
}

static bool has(const struct list *list, enum daxpin_leftover_kind kind)
{
	return list->kinds >> kind & 1;
}

static int list_all(const struct family *family, struct list *ret_list)
{
	*ret_list = (struct list) { .child = family->child };
	return daxpin_leftovers(family->f->path, family->f->errmsg,
				sizeof(family->f->errmsg), note, ret_list, NULL);
}

/* ----------------------------------------------------------------- threads */

static int result_of_thread;
static pthread_barrier_t both;

static int close_inherited(void)
{
	return syscall(SYS_close_range, 3, 199, 0) ? -errno : 0;
}

static void *keep_own_descriptors(void *arg)
{
	(void)arg;
	result_of_thread = unshare(CLONE_FILES) ? -errno : 0;
	pthread_barrier_wait(&both);
	pause_forever();
	return NULL;
}

static int keep_in_a_thread(struct fixture *f)
{
	pthread_t thread;

	(void)f;
	if (pthread_barrier_init(&both, NULL, 2) ||
	    pthread_create(&thread, NULL, keep_own_descriptors, NULL))
		return -1;
	pthread_barrier_wait(&both);
	return result_of_thread ? result_of_thread : close_inherited();
}

static void descriptors_of_a_thread_alone_are_found(void **state)
{
	struct family family = leave_child(*state, keep_in_a_thread);
	struct list list;

	assert_true(list_all(&family, &list) > 0);
	end_family(&family);
	assert_true(has(&list, DAXPIN_LEFTOVER_DESCRIPTOR));
	assert_true(has(&list, DAXPIN_LEFTOVER_MAPPING));
	assert_true(list.thread_is_named);
}

#define COPIES		3

static void *keep_a_copy(void *arg)
{
	if (arg && unshare(CLONE_FILES))
		result_of_thread = -errno;
	pthread_barrier_wait(&both);
	pause_forever();
	return NULL;
}

/* Threads that have a table like that of the main thread: it is the same, or a copy. */
static int keep_in_threads(void *copy)
{
	pthread_t thread;

	result_of_thread = 0;
	if (pthread_barrier_init(&both, NULL, COPIES + 1))
		return -1;
	for (int i = 0; i < COPIES; i++)
		if (pthread_create(&thread, NULL, keep_a_copy, copy))
			return -1;
	pthread_barrier_wait(&both);
	return result_of_thread;
}

static int keep_copies(struct fixture *f)
{
	return keep_in_threads(f);
}

static int keep_one_table(struct fixture *f)
{
	(void)f;
	return keep_in_threads(NULL);
}

static void copies_of_a_table_of_descriptors_are_listed(void **state)
{
	struct family family = leave_child(*state, keep_copies);
	struct list list;

	assert_true(list_all(&family, &list) > 0);
	end_family(&family);
	assert_int_equal(list.tables, COPIES + 1);
	assert_true(list.thread_is_named);
}

/* An emulator has threads of its own in the process. */
static uint32_t count_threads(pid_t pid)
{
	char path[64];
	uint32_t count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* But with a kernel that does not say so, it is listed for each of them. */
static void a_table_that_threads_share_is_listed_once(void **state)
{
	struct family family = leave_child(*state, keep_one_table);
	uint32_t threads = count_threads(family.child);
	struct list list, blind;

	assert_true(threads > COPIES);
	assert_true(list_all(&family, &list) > 0);
	kcmp_is_missing = true;
	assert_true(list_all(&family, &blind) > 0);
	kcmp_is_missing = false;
	end_family(&family);
	assert_int_equal(list.tables, 1);
	assert_false(list.thread_is_named);
	assert_int_equal(blind.tables, threads);
}

/* Waits until the main thread, which calls this thread's process its own, has ended. An
 * emulator may make up what a process reads of itself in /proc/PID/stat. */
static bool await_zombie(pid_t pid)
{
	char path[64], text[512] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, pid);
	for (int i = 0; i < 60000; i++) {
		file = fopen(path, "re");
		if (!file || !fgets(text, sizeof(text), file))
			return false;
		fclose(file);
		if (strstr(text, ") Z "))
			return true;
		usleep(1000);
	}
	return false;
}

static void *report_that_main_ended(void *arg)
{
	int ret = await_zombie(getpid()) ? 0 : -1;

	(void)arg;
	if (write(200, &ret, sizeof(ret)) == sizeof(ret))
		close(200);
	pause_forever();
	return NULL;
}

static int keep_without_main(struct fixture *f)
{
	pthread_t thread;

	(void)f;
	if (pthread_create(&thread, NULL, report_that_main_ended, NULL))
		return -1;
	pthread_exit(NULL);
}

static void the_threads_of_an_ended_main_thread_are_found(void **state)
{
	struct family family = leave_child(*state, keep_without_main);
	struct list list;

	assert_true(list_all(&family, &list) > 0);
	end_family(&family);
	assert_true(has(&list, DAXPIN_LEFTOVER_DESCRIPTOR));
	assert_true(has(&list, DAXPIN_LEFTOVER_MAPPING));
}

static int to_parent = -1;

static void *own_without_main(void *arg)
{
	(void)arg;
	await_zombie(getpid());
	send_step(to_parent);
	pause_forever();
	return NULL;
}

static int own_and_end_main(void *arg, int parent)
{
	struct fixture *f = arg;
	pthread_t thread;

	to_parent = parent;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) ||
	    pthread_create(&thread, NULL, own_without_main, NULL))
		return 1;
	pthread_exit(NULL);
}

static void an_owner_whose_main_thread_ended_is_alive(void **state)
{
	struct fixture *f = *state;
	struct daxpin_status_info info = { .size = sizeof(info) };
	struct daxpin_status *status;
	struct family family = { .f = f };
	struct list list;
	struct child owner;
	int ret;

	need_genuine_proc();
	close_pool(f);
	owner = fork_child(own_and_end_main, f);
	assert_true(await_step(owner.fd));
	ret = list_all(&family, &list);
	assert_int_equal(daxpin_status_open(f->path, NULL, 0, &status), 0);
	assert_int_equal(daxpin_status_info(status, &info), 0);
	daxpin_status_close(status);
	stop_child(&owner);
	assert_int_equal(ret, -EBUSY);
	assert_int_equal(info.alive, DAXPIN_YES);
	open_pool(f);
}

/* --------------------------------------------------------------- long lists */

#define PAGES	12000u

/* Mappings at lower addresses than the pool's, which the kernel lists first. */
static int keep_below_many_mappings(struct fixture *f)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	char *many = mmap(pool_base - (UINT64_C(4) << 30), PAGES * page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)f;
	if (many == MAP_FAILED || many > pool_base)
		return -2;
	for (uint32_t i = 0; i < PAGES; i += 2)
		if (mprotect(many + i * page, page, PROT_READ))
			return -3;
	return close_inherited();
}

static void mappings_after_many_others_are_found(void **state)
{
	struct family family = leave_child(*state, keep_below_many_mappings);
	struct list whole, part;

	assert_true(list_all(&family, &whole) > 0);
	memory_max = 256 << 10;
	assert_true(list_all(&family, &part) > 0);
	memory_max = SIZE_MAX;
	end_family(&family);
	assert_true(has(&whole, DAXPIN_LEFTOVER_MAPPING));
	assert_null(strstr(whole.unknown, "read in part"));
	assert_false(has(&part, DAXPIN_LEFTOVER_MAPPING));
	/* Of how many: another run of this test has such processes too. */
	assert_non_null(strstr(part.unknown, "process(es) were read in part"));
}

/* The child has the owner's socket, in whose queue are the pool's files. */
static int keep_all(struct fixture *f)
{
	(void)f;
	return 0;
}

static void without_memory_for_the_list_nothing_is_reported_as_whole(void **state)
{
	struct family family = leave_child(*state, keep_all);
	struct list list;
	int ret;

	memory_max = 0;
	ret = list_all(&family, &list);
	memory_max = SIZE_MAX;
	end_family(&family);
	assert_int_equal(ret, -ENOMEM);
}

/* ---------------------------------------------- what this process may not examine */

static int keep_hidden(struct fixture *f)
{
	(void)f;
	return prctl(PR_SET_DUMPABLE, 0) ? -errno : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[2] = { { 0 } };

	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

static int list_without_rights(void *arg)
{
	const struct family *family = arg;
	struct list list;

	if (drop_capabilities() || list_all(family, &list) <= 0)
		return 1;
	if (has(&list, DAXPIN_LEFTOVER_DESCRIPTOR) ||
	    has(&list, DAXPIN_LEFTOVER_MAPPING))
		return 2;
	return !strstr(list.unknown, "Permission denied: run this as root with CAP_SYS_PTRACE");
}

static void a_process_that_may_not_be_examined_is_unknown(void **state)
{
	struct family family = leave_child(*state, keep_hidden);
	int ret = run_child(list_without_rights, &family);

	end_family(&family);
	assert_int_equal(ret, 0);
}

/* Writes into the superblock that the owner, which is dead, had a verbs context. */
static void record_context(struct fixture *f, uint32_t flags)
{
	struct dp_super super = read_super(f, 0);

	assert_true(super.flags & DP_SUPER_UNCLEAN);
	super.flags |= flags;
	super.owner.contexts = 1;
	super.owner.context[0] = (struct dp_rdma_context) { .number = 7 };
	write_super(f, 0, super);
}

/* The list of a machine that does not say which verbs contexts exist. */
static struct list list_despite_netlink(struct fixture *f, int error)
{
	const struct family family = { .f = f };
	struct list list;
	int ret;

	netlink_error = error;
	devices_are_hidden = true;
	ret = list_all(&family, &list);
	netlink_error = 0;
	devices_are_hidden = false;
	assert_int_equal(ret, 1);
	return list;
}

/* As if a container or a security policy refused netlink. */
static void verbs_contexts_are_unknown_if_netlink_is_refused(void **state)
{
	const int errors[] = { -EACCES, -EPERM };
	struct fixture *f = *state;
	struct list list;

	leave_child(f, keep_all);
	end_living();
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		record_context(f, 0);
		list = list_despite_netlink(f, errors[i]);
		assert_non_null(strstr(list.unknown, "allow socket(AF_NETLINK"));
		record_context(f, DP_SUPER_OWNER_UNKNOWN);
		list = list_despite_netlink(f, errors[i]);
		assert_non_null(strstr(list.unknown, "allow socket(AF_NETLINK"));
	}
}

/* -------------------------------------------------------------------- main */

static int setup(void **state)
{
	return fixture_setup_sized(state, 64 * MIB);
}

/* Also of a test that failed. */
static int teardown(void **state)
{
	end_living();
	memory_max = SIZE_MAX;
	netlink_error = 0;
	devices_are_hidden = kcmp_is_missing = false;
	return fixture_teardown(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(descriptors_of_a_thread_alone_are_found),
		TEST(copies_of_a_table_of_descriptors_are_listed),
		TEST(a_table_that_threads_share_is_listed_once),
		TEST(the_threads_of_an_ended_main_thread_are_found),
		TEST(an_owner_whose_main_thread_ended_is_alive),
		TEST(mappings_after_many_others_are_found),
		TEST(without_memory_for_the_list_nothing_is_reported_as_whole),
		TEST(a_process_that_may_not_be_examined_is_unknown),
		TEST(verbs_contexts_are_unknown_if_netlink_is_refused),
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests_name("check_leftovers", tests, NULL, NULL);
}
