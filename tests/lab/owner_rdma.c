/* SPDX-License-Identifier: BSD-3-Clause */
/* A dead owner's verbs contexts are waited for, whatever keeps them open. */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "os/os.h"
#include "owner/owner.h"
#include "pins.h"
#include "rdma_own_device.h"

#define MS		1000000ull
#define SHORT_NS	(1000 * MS)	/* a query can take long on a busy machine */
#define LONG_NS		(60000 * MS)
#define MR_SIZE		(1 << 20)
#define PAGE_SIZE	4096
#define MANY_MRS	128		/* makes the teardown slow */
#define REMOVAL_MS	600000
#define BOOT_ID_FILE	"/run/daxpin-boot-id"	/* the boot id of a container */
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME	0x80
#endif

static const char *lab_device;
static pid_t holder;		/* the last one that was started */
static int removal_takes_contexts;	/* -1: there is no device to try it with */
static char sentence[700];
static const struct dp_errmsg errmsg = { sentence, sizeof(sentence) };

/* ------------------------------------------------------------------- verbs */

/* Opens a context with memory regions that a peer may write to. */
static struct ibv_context *open_with_memory(const char *name, int mrs)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
	struct ibv_context *context = own_device_open(name);
	struct ibv_pd *pd = context ? ibv_alloc_pd(context) : NULL;
	void *memory = mmap(NULL, MR_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!pd || memory == MAP_FAILED)
		return NULL;
	while (mrs--)
		if (!ibv_reg_mr(pd, memory, MR_SIZE, access))
			return NULL;
	return context;
}

/* For dp_owner_find_context(). */
static int make_domain(int make, void *arg)
{
	static struct ibv_pd *pd;

	if (!make)
		return -ibv_dealloc_pd(pd);
	pd = ibv_alloc_pd(arg);
	return pd ? 0 : -errno;
}

static bool record(struct ibv_context *context, struct dp_owner *owner)
{
	struct dp_rdma_context found;

	dp_owner_self(owner);
	return !dp_owner_find_context(make_domain, context, &found, &errmsg) &&
	       dp_owner_add_context(owner, &found) == 1;
}

/* A queue pair and its completion queue are mappings of the uverbs file. */
static bool map_queues(struct ibv_context *context)
{
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct ibv_cq *cq = ibv_create_cq(context, 16, NULL, NULL, 0);
	struct ibv_qp_init_attr attr = {
		.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = 4, .max_recv_wr = 4,
			.max_send_sge = 1, .max_recv_sge = 1,
		},
	};

	return pd && cq && ibv_create_qp(pd, &attr);
}

/* ----------------------------------------------------------------- owners */

struct death {
	pid_t owner;
	pid_t holder;		/* a child of the owner, or 0 */
	int socket;		/* the owner keeps the other end */
	struct dp_owner record;
};

/* What a holder keeps of the owner. It closes the rest. */
enum keep { KEEP_NOTHING, KEEP_MAPPINGS, KEEP_DESCRIPTORS };

static void stay_alive(void)
{
	for (;;)
		pause();
}

static pid_t fork_holder(enum keep keep)
{
	pid_t pid = keep == KEEP_NOTHING ? 0 : fork();

	if (pid || keep == KEEP_NOTHING)
		return pid;
	/* Only a mapping still refers to the uverbs file. */
	if (keep == KEEP_MAPPINGS)
		syscall(SYS_close_range, 3, ~0u, 0);
	stay_alive();
	return -1;
}

static void own(int socket, const char *device, enum keep keep, int mrs)
{
	struct death death = { .owner = getpid() };
	struct ibv_context *context;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	context = open_with_memory(device, mrs);
	if (!context || !map_queues(context) ||
	    !record(context, &death.record))
		_exit(1);
	death.holder = fork_holder(keep);
	if (write(socket, &death, sizeof(death)) != sizeof(death))
		_exit(1);
	stay_alive();
}

static struct death owner_begin_with(const char *device, enum keep keep,
				     int mrs)
{
	struct death death;
	int ends[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(ends[0]);
		own(ends[1], device, keep, mrs);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &death, sizeof(death)), sizeof(death));
	assert_int_equal(death.owner, pid);
	death.socket = ends[0];
	holder = death.holder;
	return death;
}

static struct death owner_begin(const char *device, enum keep keep)
{
	return owner_begin_with(device, keep, 1);
}

static void owner_kill(const struct death *death)
{
	assert_int_equal(kill(death->owner, SIGKILL), 0);
}

static void owner_reap(const struct death *death)
{
	assert_int_equal(waitpid(death->owner, NULL, 0), death->owner);
	close(death->socket);
}

static void holder_end(void)
{
	if (holder > 0)
		kill(holder, SIGKILL);
	holder = 0;
}

/* Ends the processes of a test that failed midway. */
static int clean_up(void **state)
{
	(void)state;
	holder_end();
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return 0;
}

static int on_progress(const struct dp_wait *wait, void *arg)
{
	assert_int_equal(wait->owner, DP_OWNER_RDMA);
	*(int *)arg = wait->pid;
	return 0;
}

/* Waits for the owner's RDMA. owner NULL: its record was lost. */
static int await(const struct dp_owner *owner, uint64_t wait_ns,
		 int *reported_pid)
{
	int ignored, ret;
	struct dp_wait_policy policy = {
		.deadline_ns = dp_os_now_ns() + wait_ns,
		.progress = on_progress,
		.arg = reported_pid ? reported_pid : &ignored,
	};

	sentence[0] = '\0';
	dp_wait_begin(&policy);
	ret = owner ? dp_owner_await(owner, &policy, false, &errmsg) :
		      dp_owner_await_unknown(&policy, false, &errmsg);
	if (ret)
		print_message("%d: %s\n", ret, sentence);
	return ret;
}

/* ------------------------------------------------------------------- tests */

static void a_living_owner_is_waited_for(void **state)
{
	struct death death = owner_begin(lab_device, KEEP_NOTHING);
	int owner = 0;

	(void)state;
	assert_int_equal(await(&death.record, SHORT_NS, &owner), -EBUSY);
	assert_int_equal(owner, death.owner);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
}

static void a_killed_owner_is_waited_for_until_its_context_is_gone(void **state)
{
	struct death death = owner_begin(lab_device, KEEP_NOTHING);

	(void)state;
	owner_kill(&death);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	owner_reap(&death);
	assert_int_equal(await(&death.record, 0, NULL), 0);
}

static void wait_for_the_holder(enum keep keep)
{
	struct death death = owner_begin(lab_device, keep);
	int owner = 0;

	assert_true(death.holder > 0);
	owner_kill(&death);
	/* While the owner is a zombie, and after it was reaped. */
	assert_int_equal(await(&death.record, SHORT_NS, &owner), -EBUSY);
	assert_int_equal(owner, death.owner);
	owner_reap(&death);
	assert_int_equal(await(&death.record, SHORT_NS, NULL), -EBUSY);
	assert_non_null(strstr(sentence, lab_device));
	assert_non_null(strstr(sentence, "1 of its verbs context"));

	holder_end();
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
}

static void a_context_kept_by_a_childs_mappings_is_waited_for(void **state)
{
	(void)state;
	wait_for_the_holder(KEEP_MAPPINGS);
}

static void a_context_kept_by_a_childs_descriptors_is_waited_for(void **state)
{
	(void)state;
	wait_for_the_holder(KEEP_DESCRIPTORS);
}

static void nothing_is_pinned_after_the_wait(void **state)
{
	const long long before = pinned_pages();
	struct death death;

	(void)state;
	for (int i = 0; i < 5; i++) {
		death = owner_begin_with(lab_device, KEEP_MAPPINGS, MANY_MRS);
		owner_kill(&death);
		owner_reap(&death);
		assert_true(pinned_pages() >= before + MANY_MRS);
		holder_end();
		assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
		assert_int_equal(pinned_pages(), before);
	}
}

static void contexts_of_other_processes_are_not_waited_for(void **state)
{
	struct death dead = owner_begin(lab_device, KEEP_NOTHING);
	struct death other = owner_begin(lab_device, KEEP_NOTHING);
	struct ibv_context *ours = own_device_open(lab_device);

	(void)state;
	assert_non_null(ours);
	owner_kill(&dead);
	assert_int_equal(await(&dead.record, LONG_NS, NULL), 0);
	owner_reap(&dead);
	assert_int_equal(await(&dead.record, LONG_NS, NULL), 0);

	owner_kill(&other);
	owner_reap(&other);
	ibv_close_device(ours);
}

struct opener {
	pthread_barrier_t barrier;
	struct ibv_context *context;
};

static void *open_and_stay(void *arg)
{
	struct opener *opener = arg;

	opener->context = own_device_open(lab_device);
	pthread_barrier_wait(&opener->barrier);
	pthread_barrier_wait(&opener->barrier);
	return NULL;
}

static void a_context_of_this_process_is_not_waited_for(void **state)
{
	struct death dead = owner_begin(lab_device, KEEP_NOTHING);
	struct opener opener;
	pthread_t thread;

	(void)state;
	pthread_barrier_init(&opener.barrier, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, open_and_stay, &opener),
			 0);
	pthread_barrier_wait(&opener.barrier);
	assert_non_null(opener.context);
	owner_kill(&dead);
	owner_reap(&dead);
	assert_int_equal(await(&dead.record, LONG_NS, NULL), 0);
	pthread_barrier_wait(&opener.barrier);
	pthread_join(thread, NULL);
	ibv_close_device(opener.context);
}

/* ------------------------------------------------ devices that come and go */

/* Removes the RDMA device and its network device. */
static int own_device_remove(void **state)
{
	clean_up(state);
	own_device_drop();
	return 0;
}

static void need_own_device(void)
{
	if (removal_takes_contexts >= 0 && own_device_add())
		return;
	print_message("# skipped: this kernel makes no second device\n");
	skip();
}

static void after_its_device_was_removed_a_context_is_gone(void **state)
{
	struct ibv_context *ours = own_device_open(lab_device);
	struct death death;

	(void)state;
	need_own_device();
	death = owner_begin(OWN_DEVICE, KEEP_NOTHING);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(system("rdma link del " OWN_DEVICE), 0);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	ibv_close_device(ours);
}

static void a_renamed_device_is_found(void **state)
{
	struct death death;

	(void)state;
	need_own_device();
	death = owner_begin(OWN_DEVICE, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(system("rdma dev set " OWN_DEVICE " name "
				OWN_RENAMED), 0);
	assert_int_equal(await(&death.record, SHORT_NS, NULL), -EBUSY);
	holder_end();
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	assert_int_equal(system("rdma link del " OWN_RENAMED), 0);
}

/*
 * Removes the device of a dead owner's context, which another process keeps open. NULL:
 * an owner whose record was lost.
 */
static void remove_under_a_holder(const char *device,
				  const struct dp_owner *owner)
{
	const long long before = pinned_pages();
	pid_t remover = own_device_begin_removal(device);

	if (removal_takes_contexts) {
		/* The holder lives, and its context was taken away. */
		assert_true(own_device_ends_within(remover, REMOVAL_MS));
		assert_int_equal(pinned_pages(), before - MR_SIZE / PAGE_SIZE);
		assert_int_equal(await(owner, 0, NULL), 0);
		assert_int_equal(kill(holder, 0), 0);
		holder_end();
		return;
	}
	/* The device is no longer listed, and its context still exists. */
	assert_true(own_device_is_unlisted(device));
	assert_false(own_device_ends_within(remover, 200));
	assert_int_equal(await(owner, SHORT_NS, NULL), -EBUSY);
	assert_int_equal(pinned_pages(), before);
	holder_end();
	assert_int_equal(await(owner, LONG_NS, NULL), 0);
	assert_int_equal(pinned_pages(), before - MR_SIZE / PAGE_SIZE);
	assert_true(own_device_ends_within(remover, REMOVAL_MS));
}

static void a_device_being_removed_is_waited_for(void **state)
{
	struct death death;

	(void)state;
	need_own_device();
	death = owner_begin(OWN_DEVICE, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	remove_under_a_holder(OWN_DEVICE, &death.record);
}

static void a_renamed_device_being_removed_is_waited_for(void **state)
{
	struct death death;

	(void)state;
	need_own_device();
	death = owner_begin(OWN_DEVICE, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(system("rdma dev set " OWN_DEVICE " name "
				OWN_RENAMED), 0);
	remove_under_a_holder(OWN_RENAMED, &death.record);
}

/* ------------------------------------------------------- the lost record */

static void with_a_lost_record_all_contexts_are_waited_for(void **state)
{
	struct death other = owner_begin(lab_device, KEEP_NOTHING);
	int owner = -1;

	(void)state;
	assert_int_equal(await(NULL, SHORT_NS, &owner), -EBUSY);
	assert_int_equal(owner, 0);
	assert_non_null(strstr(sentence, "the 1 on this machine"));
	assert_non_null(strstr(sentence, "rdma resource show ctx"));
	owner_kill(&other);
	assert_int_equal(await(NULL, LONG_NS, NULL), 0);
	owner_reap(&other);
}

static void with_a_lost_record_contexts_of_every_device_are_waited_for(void **state)
{
	struct death death;

	(void)state;
	need_own_device();
	assert_int_equal(await(NULL, LONG_NS, NULL), 0);
	death = owner_begin(OWN_DEVICE, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(await(NULL, SHORT_NS, NULL), -EBUSY);
	remove_under_a_holder(OWN_DEVICE, NULL);
}

/* Returns 0 if the child, in namespaces of its own, got the expected result. */
static int in_child(int namespaces, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		/* The child of this process is in a new pid namespace. */
		if (unshare(namespaces))
			_exit(77);
		pid = fork();
		if (!pid)
			_exit(fn(arg));
		_exit(waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) :
							1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int expect_unknown(void *arg)
{
	return await(arg, SHORT_NS, NULL) != -EBUSY ||
	       !strstr(sentence, "initial network namespace");
}

static int expect_busy(void *arg)
{
	return await(arg, SHORT_NS, NULL) != -EBUSY ||
	       !strstr(sentence, arg ? OWN_DEVICE : "the 1 on this machine");
}

static int expect_over(void *arg)
{
	return await(arg, LONG_NS, NULL) != 0;
}

/*
 * In another network namespace a device that is being removed is invisible, but whether
 * any uverbs file is open on the machine can be seen.
 */
static void another_network_namespace_cannot_see_a_removal(void **state)
{
	struct death death;
	pid_t remover;

	(void)state;
	need_own_device();
	death = owner_begin(OWN_DEVICE, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	remover = own_device_begin_removal(OWN_DEVICE);
	assert_true(own_device_is_unlisted(OWN_DEVICE));
	/* A query by number finds the context as long as it exists. */
	assert_int_equal(in_child(CLONE_NEWNET, removal_takes_contexts ?
				  expect_unknown : expect_busy, &death.record),
			 0);
	assert_int_equal(in_child(CLONE_NEWNET, removal_takes_contexts ?
				  expect_unknown : expect_busy, NULL), 0);
	holder_end();
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	assert_true(own_device_ends_within(remover, REMOVAL_MS));
	assert_int_equal(in_child(CLONE_NEWNET, expect_over, &death.record), 0);
	assert_int_equal(in_child(CLONE_NEWNET | CLONE_NEWPID, expect_over,
				  NULL), 0);
}

static int expect_exclusive(void *arg)
{
	return await(arg, SHORT_NS, NULL) != -EBUSY ||
	       !strstr(sentence, "`rdma system`");
}

/*
 * The kernel changes this only while there is no other network namespace, and it
 * removes a namespace some time after its last process has ended.
 */
static int set_netns(const char *how)
{
	char command[128];

	snprintf(command, sizeof(command), "for i in $(seq 1200); do "
		 "rdma system set netns %s 2>/dev/null && exit; sleep 0.1; done; "
		 "rdma system set netns %s", how, how);
	return system(command);
}

/* In another namespace a device in exclusive mode looks as if it did not exist. */
static void an_exclusive_device_in_another_namespace_is_not_gone(void **state)
{
	struct death death;

	(void)state;
	if (system("rdma system show | grep -q 'netns shared'")) {
		print_message("# skipped: `rdma system` shows no shared devices here\n");
		skip();
	}
	assert_int_equal(set_netns("exclusive"), 0);
	death = owner_begin(lab_device, KEEP_MAPPINGS);
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(in_child(CLONE_NEWNET, expect_exclusive,
				  &death.record), 0);
	assert_int_equal(in_child(CLONE_NEWNET, expect_exclusive, NULL), 0);
	assert_int_equal(await(&death.record, SHORT_NS, NULL), -EBUSY);
	holder_end();
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	/* No uverbs file is open on the machine, which every namespace can see. */
	assert_int_equal(in_child(CLONE_NEWNET, expect_over, &death.record), 0);
}

static int share_devices(void **state)
{
	clean_up(state);
	return set_netns("shared");
}

/* ------------------------------------------------- containers, bystanders */

static void *open_and_end(void *arg)
{
	return own_device_open(arg);
}

/* Its contexts have a pid, or none if the thread that made them has ended. */
static pid_t begin_bystander(const char *device, bool with_pid)
{
	int ends[2];
	pthread_t thread;
	char opened = 0;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		void *context = NULL;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (with_pid)
			context = own_device_open(device);
		else if (!pthread_create(&thread, NULL, open_and_end,
					 (void *)device))
			pthread_join(thread, &context);
		opened = context != NULL;
		if (write(ends[1], &opened, 1) == 1)
			stay_alive();
		_exit(1);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &opened, 1), 1);
	assert_true(opened);
	close(ends[0]);
	return pid;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void contexts_of_bystanders_are_not_waited_for(void **state)
{
	pid_t before[] = { begin_bystander(lab_device, true),
			   begin_bystander(lab_device, false) };
	struct death death = owner_begin(lab_device, KEEP_NOTHING);
	pid_t after[] = { begin_bystander(lab_device, true),
			  begin_bystander(lab_device, false) };

	(void)state;
	owner_kill(&death);
	owner_reap(&death);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	for (int i = 0; i < 2; i++) {
		end_process(before[i]);
		end_process(after[i]);
	}
}

/* Start times are shifted in the new time namespace. */
static int shift_time(void)
{
	int fd = open("/proc/self/timens_offsets", O_WRONLY);
	bool done = fd >= 0 && write(fd, "boottime 100000 0\n", 18) == 18;

	close(fd);
	return done ? 0 : -1;
}

/* An owner in namespaces of its own, with the mounts of a container over /proc. */
static struct death owner_begin_contained(enum keep keep)
{
	struct death death;
	int ends[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(ends[0]);
		if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
			    CLONE_NEWTIME) || shift_time())
			_exit(77);
		pid = fork();
		if (!pid) {
			if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
			    mount("proc", "/proc", "proc", 0, NULL) ||
			    mount(BOOT_ID_FILE, "/proc/sys/kernel/random/boot_id",
				  NULL, MS_BIND, NULL))
				_exit(1);
			own(ends[1], lab_device, keep, 1);
		}
		close(ends[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(waitpid(pid, NULL, 0) != pid);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &death, sizeof(death)), sizeof(death));
	assert_int_equal(death.owner, 1);
	death.owner = pid;
	death.socket = ends[0];
	return death;
}

/* Kills the first process of the pid namespace, which ends all its others. */
static void end_container(const struct death *death)
{
	char command[64];

	snprintf(command, sizeof(command), "pkill -KILL -P %d", death->owner);
	assert_int_equal(system(command), 0);
	owner_reap(death);
}

static void an_owner_in_a_container_is_over_when_its_context_is_gone(void **state)
{
	pid_t bystander[] = { begin_bystander(lab_device, true),
			      begin_bystander(lab_device, false) };
	struct death death = owner_begin_contained(KEEP_NOTHING);

	(void)state;
	assert_int_equal(death.record.flags & DP_OWNER_BOOT_GENUINE, 0);
	assert_int_equal(death.record.pid, 1);
	assert_int_equal(await(&death.record, SHORT_NS, NULL), -EBUSY);
	end_container(&death);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
	/* The same seen from containers: the owner's, and another one. */
	assert_int_equal(in_child(CLONE_NEWPID, expect_over, &death.record), 0);
	assert_int_equal(in_child(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME,
				  expect_over, &death.record), 0);
	end_process(bystander[0]);
	end_process(bystander[1]);
}

static int expect_wait(void *arg)
{
	return await(arg, SHORT_NS, NULL) != -EBUSY ||
	       !strstr(sentence, lab_device);
}

/* The descriptor was sent to this process, as it could be to any. */
static void a_context_out_of_a_container_is_waited_for(void **state)
{
	struct death death = owner_begin_contained(KEEP_NOTHING);
	int pidfd, uverbs = -1;
	char path[64];
	pid_t inside;
	FILE *children;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", death.owner,
		 death.owner);
	children = fopen(path, "r");
	assert_non_null(children);
	assert_int_equal(fscanf(children, "%d", &inside), 1);
	fclose(children);
	pidfd = (int)syscall(SYS_pidfd_open, inside, 0);
	assert_true(pidfd >= 0);
	for (int fd = 3; fd < 64 && uverbs < 0; fd++) {
		char target[64] = "";
		int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

		if (copy < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
		if (readlink(path, target, sizeof(target) - 1) > 0 &&
		    strstr(target, "uverbs"))
			uverbs = copy;
		else
			close(copy);
	}
	close(pidfd);
	assert_true(uverbs >= 0);
	end_container(&death);
	assert_int_equal(await(&death.record, SHORT_NS, NULL), -EBUSY);
	assert_int_equal(in_child(CLONE_NEWPID, expect_wait, &death.record), 0);
	assert_int_equal(in_child(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME,
				  expect_wait, &death.record), 0);
	close(uverbs);
	assert_int_equal(await(&death.record, LONG_NS, NULL), 0);
}

#define TEST(f)		cmocka_unit_test_teardown(f, clean_up)
#define TEST_DEVICE(f)	cmocka_unit_test_teardown(f, own_device_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_living_owner_is_waited_for),
		TEST(a_killed_owner_is_waited_for_until_its_context_is_gone),
		TEST(a_context_kept_by_a_childs_mappings_is_waited_for),
		TEST(a_context_kept_by_a_childs_descriptors_is_waited_for),
		TEST(nothing_is_pinned_after_the_wait),
		TEST(contexts_of_other_processes_are_not_waited_for),
		TEST(a_context_of_this_process_is_not_waited_for),
		TEST_DEVICE(after_its_device_was_removed_a_context_is_gone),
		TEST_DEVICE(a_renamed_device_is_found),
		TEST_DEVICE(a_device_being_removed_is_waited_for),
		TEST_DEVICE(a_renamed_device_being_removed_is_waited_for),
		TEST(with_a_lost_record_all_contexts_are_waited_for),
		TEST_DEVICE(with_a_lost_record_contexts_of_every_device_are_waited_for),
		TEST_DEVICE(another_network_namespace_cannot_see_a_removal),
		cmocka_unit_test_teardown(
			an_exclusive_device_in_another_namespace_is_not_gone,
			share_devices),
		TEST(contexts_of_bystanders_are_not_waited_for),
		TEST(an_owner_in_a_container_is_over_when_its_context_is_gone),
		TEST(a_context_out_of_a_container_is_waited_for),
	};

	lab_device = getenv("DAXPIN_TEST_RDMA");
	if (!lab_device) {
		printf("# skipped: DAXPIN_TEST_RDMA names no RDMA device: run it in the lab (./dev lab)\n");
		return 77;
	}
	removal_takes_contexts = own_device_removal_takes_contexts();
	printf("# a device that is removed %s\n",
	       removal_takes_contexts ? "takes its contexts from their processes"
				      : "waits until its contexts are closed");
	if (system("echo 01234567-89ab-4cde-8f01-23456789abcd >" BOOT_ID_FILE))
		return 1;
	/* Orphaned holders become children of this process, which reaps them. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
