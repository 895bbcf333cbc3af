/* SPDX-License-Identifier: BSD-3-Clause */
/* The owner's record, and what can be told of it without an RDMA device. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include "child.h"
#include "fake_clock.h"
#include "forbid.h"
#include "os/os.h"
#include "owner/owner.h"
#include "owner/rdma_netlink.h"

#define MS		1000000ull
#define LONG_MS		600000		/* limit of a wait that must end */
#define NO_DEVICE	"daxpin-none0"

static char sentence[400];
static const struct dp_why why = { sentence, sizeof(sentence) };

/* --------------------------------------------------------------- fixtures */

struct told {
	int times;
	int pid;
	enum dp_owner_state owner;
	int answer;
	bool ends_time;			/* at the third, by the library's clock */
};

static int tell(enum dp_owner_state owner, int pid, uint64_t waited_ns,
		void *arg)
{
	struct told *told = arg;

	(void)waited_ns;
	told->times++;
	told->pid = pid;
	told->owner = owner;
	if (told->ends_time && told->times == 3)
		put_clock_forward(2 * LONG_MS);
	return told->answer;
}

static int await(const struct dp_owner *owner, uint64_t wait_ns,
		 struct told *told)
{
	struct dp_patience patience = {
		.deadline_ns = dp_os_now_ns() + wait_ns,
		.progress = told ? tell : NULL,
		.arg = told,
	};

	sentence[0] = '\0';
	dp_patience_begin(&patience);
	return dp_owner_await(owner, &patience, &why);
}

static struct dp_owner self_with_device(void)
{
	struct dp_owner owner;

	assert_int_equal(dp_owner_self(&owner), 0);
	assert_int_equal(dp_owner_add_device(&owner, NO_DEVICE), 1);
	return owner;
}

/* A process with a record of its own, which lives until it is killed. */
struct other {
	struct child child;
	struct dp_owner owner;
};

static void live_on(void)
{
	for (;;)
		pause();
}

struct life {
	void (*live)(void);
};

static int live_as_owner(void *arg, int fd)
{
	const struct life *life = arg;
	struct dp_owner owner;

	if (!dp_owner_self(&owner) &&
	    dp_owner_add_device(&owner, NO_DEVICE) == 1 &&
	    send_message(fd, &owner, sizeof(owner)))
		life->live();
	return 1;
}

static struct other start_other(void (*live)(void))
{
	struct life life = { live };
	struct other other;

	other.child = fork_child(live_as_owner, &life);
	assert_true(receive_message(other.child.fd, &other.owner,
				    sizeof(other.owner)));
	return other;
}

static bool every(uint32_t pid, void *arg)
{
	(void)pid;
	(void)arg;
	return true;
}

/* Where others' verbs contexts are about, or nothing can be told of them. */
static void need_quiet_rdma(void)
{
	const char name[1][DP_DEVICE_NAME_MAX] = { NO_DEVICE };
	int ret = dp_verbs_count(name, 1, every, NULL, &why);

	if (!ret)
		return;
	print_message("# skipped: %s\n", ret < 0 ? sentence :
		      "other processes use RDMA on this machine");
	skip();
}

/* -------------------------------------------------------------- the record */

static void self_is_described(void **state)
{
	struct dp_owner owner;
	char id[64], hex[64];
	int at = 0;

	(void)state;
	memset(&owner, 0xa5, sizeof(owner));
	assert_int_equal(dp_owner_self(&owner), 0);
	assert_int_equal(owner.pid, getpid());
	assert_int_equal(owner.rdma_devices, 0);
	assert_true(owner.pid_namespace && owner.net_namespace);
	assert_true(owner.start_time);
	for (int i = 0; i < 16; i++)
		at += sprintf(hex + at, "%s%02x", i == 4 || i == 6 || i == 8 ||
			      i == 10 ? "-" : "", owner.boot_id[i]);
	assert_true(dp_os_read_file("/proc/sys/kernel/random/boot_id", id,
				    sizeof(id)) > 0);
	assert_memory_equal(id, hex, 36);
	for (size_t i = 0; i < sizeof(owner.rdma_device); i++)
		assert_int_equal(((char *)owner.rdma_device)[i], 0);
}

static void start_time_is_when_it_started(void **state)
{
	struct dp_owner self;
	struct other other;
	uint64_t now = dp_os_now_ns() / 1000000000;

	(void)state;
	assert_int_equal(dp_owner_self(&self), 0);
	other = start_other(live_on);
	stop_child(&other.child);
	assert_true(other.owner.start_time >= self.start_time);
	/* Ticks since boot, which is no earlier than the monotonic clock. */
	assert_true(other.owner.start_time / sysconf(_SC_CLK_TCK) + 1 >= now);
}

static void devices_are_added_once(void **state)
{
	struct dp_owner owner;
	char name[DP_DEVICE_NAME_MAX + 1];

	(void)state;
	assert_int_equal(dp_owner_self(&owner), 0);
	assert_int_equal(dp_owner_add_device(&owner, "rxe0"), 1);
	assert_int_equal(dp_owner_add_device(&owner, "rxe0"), 0);
	assert_int_equal(dp_owner_add_device(&owner, "rxe01"), 1);
	assert_int_equal(owner.rdma_devices, 2);
	assert_string_equal(owner.rdma_device[0], "rxe0");
	assert_string_equal(owner.rdma_device[1], "rxe01");

	memset(name, 'x', sizeof(name));
	name[DP_DEVICE_NAME_MAX] = '\0';
	assert_int_equal(dp_owner_add_device(&owner, name), -EINVAL);
	name[DP_DEVICE_NAME_MAX - 1] = '\0';
	assert_int_equal(dp_owner_add_device(&owner, name), 1);
	assert_string_equal(owner.rdma_device[2], name);
}

static void bad_device_names_are_refused(void **state)
{
	struct dp_owner owner;

	(void)state;
	assert_int_equal(dp_owner_self(&owner), 0);
	assert_int_equal(dp_owner_add_device(&owner, NULL), -EINVAL);
	assert_int_equal(dp_owner_add_device(&owner, ""), -EINVAL);
	assert_int_equal(dp_owner_add_device(&owner, ".."), -EINVAL);
	assert_int_equal(dp_owner_add_device(&owner, "a/b"), -EINVAL);
	assert_int_equal(owner.rdma_devices, 0);
}

static void a_fifth_device_does_not_fit(void **state)
{
	const char *name[] = { "a", "b", "c", "d" };
	struct dp_owner owner;

	(void)state;
	assert_int_equal(dp_owner_self(&owner), 0);
	for (unsigned int i = 0; i < DP_RDMA_DEVICES_MAX; i++)
		assert_int_equal(dp_owner_add_device(&owner, name[i]), 1);
	assert_int_equal(dp_owner_add_device(&owner, "e"), -ENOSPC);
	assert_int_equal(dp_owner_add_device(&owner, "d"), 0);
	assert_int_equal(owner.rdma_devices, DP_RDMA_DEVICES_MAX);
}

/* ------------------------------------------------------------- the verdict */

static void no_devices_need_no_wait(void **state)
{
	struct dp_owner owner;

	(void)state;
	assert_int_equal(dp_owner_self(&owner), 0);
	assert_int_equal(await(&owner, 0, NULL), 0);
	memset(&owner, 0, sizeof(owner));
	assert_int_equal(await(&owner, 0, NULL), 0);
}

static void another_boot_needs_no_wait(void **state)
{
	struct dp_owner owner = self_with_device();

	(void)state;
	owner.boot_id[15] ^= 1;
	owner.pid_namespace++;
	assert_int_equal(await(&owner, 0, NULL), 0);
}

static void another_namespace_cannot_be_told(void **state)
{
	struct dp_owner owner = self_with_device();

	(void)state;
	owner.pid_namespace++;
	assert_int_equal(await(&owner, 1000 * MS, NULL), -EBUSY);
	assert_non_null(strstr(sentence, "pid namespace"));
	owner.pid_namespace--;
	owner.net_namespace++;
	assert_int_equal(await(&owner, 1000 * MS, NULL), -EBUSY);
	assert_non_null(strstr(sentence, "net namespace"));
}

static void ourselves_are_not_waited_for(void **state)
{
	struct dp_owner owner = self_with_device();
	uint64_t begin = dp_os_now_ns();

	(void)state;
	assert_int_equal(await(&owner, 60000 * MS, NULL), -EBUSY);
	assert_true(dp_os_now_ns() - begin < 30000 * MS);
	assert_non_null(strstr(sentence, "this process"));
}

static void a_damaged_record_is_refused(void **state)
{
	struct dp_owner owner = self_with_device();

	(void)state;
	owner.rdma_devices = DP_RDMA_DEVICES_MAX + 1;
	assert_int_equal(await(&owner, 0, NULL), -EUCLEAN);
	owner = self_with_device();
	owner.pid = 0;
	assert_int_equal(await(&owner, 0, NULL), -EUCLEAN);
	owner = self_with_device();
	memset(owner.rdma_device[0], 'x', DP_DEVICE_NAME_MAX);
	assert_int_equal(await(&owner, 0, NULL), -EUCLEAN);
	strcpy(owner.rdma_device[0], "../../../etc");
	assert_int_equal(await(&owner, 0, NULL), -EUCLEAN);
}

static void a_reused_pid_is_not_the_owner(void **state)
{
	struct other other;

	(void)state;
	need_quiet_rdma();
	other = start_other(live_on);
	other.owner.start_time += 1000000;
	assert_int_equal(await(&other.owner, 0, NULL), 0);
	stop_child(&other.child);

	/* Nor is it when the pid is our own by now. */
	other.owner.pid = getpid();
	assert_int_equal(await(&other.owner, 0, NULL), 0);
}

static void a_living_owner_is_waited_for(void **state)
{
	struct other other = start_other(live_on);
	struct told told = { .ends_time = true };
	char pid[16];

	(void)state;
	assert_int_equal(await(&other.owner, LONG_MS * MS, &told), -EBUSY);
	/* The deadline passed with the third report, and not before. */
	assert_int_equal(told.times, 3);
	assert_int_equal(told.owner, DP_OWNER_RDMA);
	assert_int_equal(told.pid, other.child.pid);
	sprintf(pid, "%d", other.child.pid);
	assert_non_null(strstr(sentence, pid));
	assert_non_null(strstr(sentence, NO_DEVICE));

	told.answer = 1;
	told.ends_time = false;
	assert_int_equal(await(&other.owner, 60000 * MS, &told), -ECANCELED);
	stop_child(&other.child);
}

static void a_dead_owner_may_be_a_zombie(void **state)
{
	struct other other;

	(void)state;
	need_quiet_rdma();
	other = start_other(live_on);
	kill_child_unreaped(&other.child);
	assert_int_equal(await(&other.owner, 0, NULL), 0);
	stop_child(&other.child);
	assert_int_equal(await(&other.owner, 0, NULL), 0);
}

static void named_like_a_zombie(void)
{
	prctl(PR_SET_NAME, "a) Z 1 2 3");
	live_on();
}

static void a_name_cannot_feign_death(void **state)
{
	struct other other = start_other(named_like_a_zombie);

	(void)state;
	assert_int_equal(await(&other.owner, 50 * MS, NULL), -EBUSY);
	stop_child(&other.child);
}

static void *sleep_on(void *arg)
{
	live_on();
	return arg;
}

static void leave_a_thread(void)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, sleep_on, NULL))
		syscall(SYS_exit, 0);
}

static void a_thread_outlives_its_leader(void **state)
{
	struct other other;
	char path[32], text[512];
	int tries = 600000;

	(void)state;
	need_quiet_rdma();
	other = start_other(leave_a_thread);
	sprintf(path, "/proc/%d/stat", other.child.pid);
	do {
		dp_os_sleep_ns(MS);
		assert_true(dp_os_read_file(path, text, sizeof(text)) > 0);
	} while (!strstr(text, ") Z ") && --tries);
	assert_true(tries);
	assert_int_equal(await(&other.owner, 50 * MS, NULL), -EBUSY);
	kill_child_unreaped(&other.child);
	assert_int_equal(await(&other.owner, 600000 * MS, NULL), 0);
	stop_child(&other.child);
}

/* ------------------------------------------------- what is not to be asked */

/* In a child: 0 if refused as it must be, 77 if there is no seccomp here. */
static int await_without_sockets(void *arg)
{
	const struct dp_owner *owner = arg;

	if (forbid(SYS_socket, EACCES))
		return 77;
	return await(owner, 1000 * MS, NULL) != -EBUSY ||
	       !strstr(sentence, "NETLINK_RDMA");
}

static void no_netlink_is_no_answer(void **state)
{
	struct other other = start_other(live_on);
	int ret;

	(void)state;
	stop_child(&other.child);
	ret = run_child(await_without_sockets, &other.owner);
	if (ret == 77)
		skip();
	assert_int_equal(ret, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(self_is_described),
		cmocka_unit_test(start_time_is_when_it_started),
		cmocka_unit_test(devices_are_added_once),
		cmocka_unit_test(bad_device_names_are_refused),
		cmocka_unit_test(a_fifth_device_does_not_fit),
		cmocka_unit_test(no_devices_need_no_wait),
		cmocka_unit_test(another_boot_needs_no_wait),
		cmocka_unit_test(another_namespace_cannot_be_told),
		cmocka_unit_test(ourselves_are_not_waited_for),
		cmocka_unit_test(a_damaged_record_is_refused),
		cmocka_unit_test(a_reused_pid_is_not_the_owner),
		cmocka_unit_test(a_living_owner_is_waited_for),
		cmocka_unit_test(a_dead_owner_may_be_a_zombie),
		cmocka_unit_test(a_name_cannot_feign_death),
		cmocka_unit_test(a_thread_outlives_its_leader),
		cmocka_unit_test(no_netlink_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
