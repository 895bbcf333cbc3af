/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_removal [ROUNDS]: an RDMA device is removed while a peer writes through it
 * into a dead owner's pool. After daxpin_pool_open() has succeeded no byte of that
 * peer may arrive, whatever the kernel does with the verbs contexts of the removed
 * device: 6.12 waits until the last one is closed, 7.3 takes them away from their
 * processes (docs/rdma.md).
 *
 * In each round an owner opens the pool, registers memory of it and lets a peer write
 * there in a loop. A third process keeps the owner's verbs context open, in one of
 * several ways, but not the pool's lock. The owner is killed and the device removed,
 * in every order. Then the pool is opened, overwritten, and compared for a while.
 */
#include "rdma_fixture.h"
#include "rdma_own_device.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define OFFSET		(UINT64_C(4) << 20)	/* in segment 0; free space */
#define WRITE_BYTES	(UINT64_C(256) << 10)
#define REGIONS		64		/* makes the teardown slow */
#define WRITES		3		/* before the kill or the removal */
#define WATCH_MS	1000
#define SHORT_MS	300
#define LONG_MS		60000
#define OUR_PATTERN	0xC3

enum keep {
	KEEP_NOTHING,
	KEEP_MAPPINGS,		/* a forked child, no descriptor */
	KEEP_DESCRIPTOR,	/* a forked child with the uverbs descriptor */
	KEEP_MEMORY,		/* a process that shares the owner's memory */
};

#define BOOT_ID_FILE	"/run/daxpin-boot-id"

enum order {
	KILL_THEN_REMOVE,
	REMOVE_THEN_KILL,
	BOTH_AT_ONCE,
	STOP_REMOVE_KILL,
	KILL_ONLY,
};

struct scenario {
	const char *name;
	enum keep keep;
	enum order order;
};

/* The owner's message to its peer, and the reply. */
struct target {
	struct wire_address address;
	uint64_t remote;
	uint32_t rkey;
	pid_t holder;
};

struct outcome {
	unsigned int refused;		/* opens that were -EBUSY */
	unsigned int rounds;
	uint64_t late;			/* late bytes */
};

/* Shared with the peer. */
struct counters {
	_Atomic uint64_t writes;	/* writes that succeeded */
	_Atomic uint64_t late;		/* late bytes that a child saw */
};

static const char *pool_path;
static unsigned int rounds = 1;
static bool removal_takes_contexts;
static struct counters *counters;
static pid_t owner, holder, peer, remover;

/* --------------------------------------------------------------- the owner */

/* The pool's lock ends with its mappings and those of its private ring. */
static void drop_pool_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	void *from[64];
	size_t length[64];
	unsigned long start, end;
	char line[512];
	int n = 0;

	while (maps && n < 64 && fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "/dev/dax") && !strstr(line, "io_uring"))
			continue;
		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		from[n] = (void *)start;
		length[n++] = end - start;
	}
	if (maps)
		fclose(maps);
	while (n--)
		munmap(from[n], length[n]);
}

static void keep_on(enum keep keep, int uverbs)
{
	drop_pool_mappings();
	if (keep == KEEP_DESCRIPTOR) {
		syscall(SYS_close_range, 3, uverbs - 1, 0);
		syscall(SYS_close_range, uverbs + 1, ~0u, 0);
	} else {
		syscall(SYS_close_range, 3, ~0u, 0);
	}
	for (;;)
		pause();
}

static int share_memory(void *arg)
{
	(void)arg;
	keep_on(KEEP_MEMORY, -1);
	return 0;
}

static pid_t begin_holder(enum keep keep, int uverbs)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	pid_t pid;

	if (keep == KEEP_NOTHING)
		return 0;
	if (keep == KEEP_MEMORY)
		return clone(share_memory, stack + sizeof(stack),
			     CLONE_VM | SIGCHLD, NULL);
	pid = fork();
	if (!pid)
		keep_on(keep, uverbs);
	return pid;
}

/* Makes the queue pair first, and the peer's region before the other regions. */
static int own(int socket, enum keep keep)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | WRITE;
	struct fixture f = { 0 };
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(LONG_MS),
		.errmsg = f.errmsg,
		.errmsg_size = sizeof(f.errmsg),
	};
	struct daxpin_segment segment;
	struct wire_address theirs;
	struct target target;
	struct ibv_mr *mr;

	if (nic_open(&f.nic, OWN_DEVICE) || wire_open(&f.wire, &f.nic))
		return 2;
	if (daxpin_pool_open(pool_path, &options, &f.pool) || attach(&f)) {
		print_message("# owner: %s\n", f.errmsg);
		return 3;
	}
	if (daxpin_segment(f.pool, 0, &segment))
		return 4;
	mr = ibv_reg_mr(f.nic.pd, (char *)segment.base + OFFSET, WRITE_BYTES,
			access);
	for (int i = 0; mr && i < REGIONS; i++)
		if (!ibv_reg_mr(f.nic.pd, (char *)segment.base + 2 * OFFSET,
				1 << 20, access))
			return 5;
	if (!mr)
		return 5;
	target = (struct target) {
		.address = wire_address(&f.wire),
		.remote = (uintptr_t)mr->addr,
		.rkey = mr->rkey,
		.holder = begin_holder(keep, f.nic.context->cmd_fd),
	};
	if (send(socket, &target, sizeof(target), 0) != sizeof(target) ||
	    recv(socket, &theirs, sizeof(theirs), 0) != sizeof(theirs) ||
	    wire_connect(&f.wire, &theirs) || send(socket, "", 1, 0) != 1)
		return 6;
	for (;;)
		pause();
}

/* ---------------------------------------------------------------- the peer */

static int write_on(int socket)
{
	unsigned char *buffer = aligned_alloc(4096, WRITE_BYTES);
	struct transfer transfer = {
		.opcode = IBV_WR_RDMA_WRITE, .length = WRITE_BYTES,
	};
	struct wire_address ours;
	struct target target;
	struct wire wire;
	struct nic nic;

	if (!buffer || nic_open(&nic, OWN_DEVICE) || wire_open(&wire, &nic))
		return 2;
	memset(buffer, PEER_PATTERN, WRITE_BYTES);
	transfer.mr = ibv_reg_mr(nic.pd, buffer, WRITE_BYTES,
				 IBV_ACCESS_LOCAL_WRITE);
	ours = wire_address(&wire);
	if (!transfer.mr ||
	    recv(socket, &target, sizeof(target), 0) != sizeof(target) ||
	    wire_connect(&wire, &target.address) ||
	    send(socket, &ours, sizeof(ours), 0) != sizeof(ours) ||
	    recv(socket, buffer, 1, MSG_PEEK) != 1)
		return 3;
	transfer.remote = target.remote;
	transfer.rkey = target.rkey;
	while (!wire_transfer(&wire, &transfer))
		counters->writes++;
	for (;;)
		pause();
}

/* ------------------------------------------------------------- containers */

/* Makes the mounts of LXC and systemd-nspawn, with another boot id. */
static bool enter_mounts(void)
{
	return !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("proc", "/proc", "proc", 0, NULL) &&
	       !mount(BOOT_ID_FILE, "/proc/sys/kernel/random/boot_id", NULL,
		      MS_BIND, NULL);
}

/* The child is the first process of the new pid namespace. */
static pid_t fork_container(void)
{
	const unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
				    SIGCHLD;

	return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

static int own_contained(int socket, enum keep keep)
{
	return enter_mounts() ? own(socket, keep) : 9;
}

/* ------------------------------------------------------------- processes */

static pid_t begin(int *ret_socket, int (*role)(int, enum keep), enum keep keep,
		   pid_t (*make)(void))
{
	int ends[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    ends), 0);
	pid = make();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		_exit(role(ends[1], keep));
	}
	close(ends[1]);
	*ret_socket = ends[0];
	return pid;
}

static int peer_role(int socket, enum keep keep)
{
	(void)keep;
	return write_on(socket);
}

static void sleep_ms(unsigned int ms)
{
	nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000l },
		  NULL);
}

/*
 * The owner opens the device before the peer does, so the kernel ends its context
 * first.
 */
static void begin_round(enum keep keep, bool contained)
{
	struct wire_address theirs;
	struct target target;
	int to_owner, to_peer;
	char go;

	counters->writes = 0;
	owner = contained ? begin(&to_owner, own_contained, keep, fork_container) :
			    begin(&to_owner, own, keep, fork);
	assert_int_equal(recv(to_owner, &target, sizeof(target), 0),
			 sizeof(target));
	holder = target.holder;
	peer = begin(&to_peer, peer_role, keep, fork);
	assert_int_equal(send(to_peer, &target, sizeof(target), 0),
			 sizeof(target));
	assert_int_equal(recv(to_peer, &theirs, sizeof(theirs), 0),
			 sizeof(theirs));
	assert_int_equal(send(to_owner, &theirs, sizeof(theirs), 0),
			 sizeof(theirs));
	assert_int_equal(recv(to_owner, &go, 1, 0), 1);
	assert_int_equal(send(to_peer, "", 1, 0), 1);
	for (int i = 0; counters->writes < WRITES && i < 60000; i++)
		sleep_ms(10);
	assert_true(counters->writes >= WRITES);
	close(to_owner);
	close(to_peer);
}

static void end_process(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

static void end_owner(void)
{
	assert_int_equal(kill(owner, SIGKILL), 0);
	if (holder)
		end_process(&owner);	/* its context then has no pid */
}

static void do_in_order(enum order order, unsigned int round)
{
	const unsigned int between_ms = round * 7 % 50;

	if (order == STOP_REMOVE_KILL)
		assert_int_equal(kill(owner, SIGSTOP), 0);
	if (order == REMOVE_THEN_KILL || order == STOP_REMOVE_KILL) {
		remover = own_device_begin_removal(OWN_DEVICE);
		sleep_ms(200 + between_ms);
		end_owner();
	} else if (order == BOTH_AT_ONCE) {
		remover = own_device_begin_removal(OWN_DEVICE);
		sleep_ms(between_ms);
		end_owner();
	} else {
		end_owner();
		if (order == KILL_THEN_REMOVE) {
			sleep_ms(between_ms);
			remover = own_device_begin_removal(OWN_DEVICE);
		}
	}
}

/* --------------------------------------------------------------- the trial */

static int open_pool(struct fixture *f, unsigned int ms)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(ms),
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};

	f->errmsg[0] = '\0';
	return daxpin_pool_open(pool_path, &options, &f->pool);
}

static uint64_t count_foreign(const unsigned char *at)
{
	uint64_t foreign = 0;

	for (uint64_t i = 0; i < WRITE_BYTES; i++)
		foreign += at[i] != OUR_PATTERN;
	return foreign;
}

/* Overwrites what the peer wrote. Returns the number of bytes that change then. */
static uint64_t watch(unsigned char *at)
{
	memset(at, OUR_PATTERN, WRITE_BYTES);
	for (unsigned int ms = 0; ms < WATCH_MS && !count_foreign(at); ms += 50)
		sleep_ms(50);
	return count_foreign(at);
}

static void expect_refusal(struct fixture *f, struct outcome *outcome)
{
	assert_int_equal(open_pool(f, SHORT_MS), -EBUSY);
	assert_non_null(strstr(f->errmsg, "verbs context"));
	outcome->refused++;
}

static void one_round(const struct scenario *s, unsigned int round,
		      struct outcome *outcome)
{
	const long long before = pinned_pages();
	const bool removal_waits = s->order != KILL_ONLY &&
				   !removal_takes_contexts;
	struct fixture f = { 0 };
	struct daxpin_segment segment;
	int ret;

	begin_round(s->keep, false);
	do_in_order(s->order, round);
	if (removal_waits)
		assert_true(own_device_is_unlisted(OWN_DEVICE));
	if (s->keep != KEEP_NOTHING &&
	    (removal_waits || s->order == KILL_ONLY)) {
		expect_refusal(&f, outcome);
		assert_true(pinned_pages() > before);
		end_process(&holder);
	}
	/* The peer's own context on that device does not prevent the open. */
	ret = open_pool(&f, LONG_MS);
	if (ret)
		fail_msg("%s", f.errmsg);
	assert_int_equal(daxpin_segment(f.pool, 0, &segment), 0);
	outcome->late += watch((unsigned char *)segment.base + OFFSET);
	outcome->rounds++;
	end_process(&peer);
	assert_true(pins_are_back(before));
	assert_int_equal(daxpin_pool_close(f.pool), 0);
}

static int round_end(void **state)
{
	(void)state;
	end_process(&owner);
	end_process(&holder);
	end_process(&peer);
	if (remover > 0)
		waitpid(remover, NULL, 0);
	remover = 0;
	own_device_drop();
	return 0;
}

static void no_byte_is_late(void **state)
{
	const struct scenario *s = *state;
	struct outcome outcome = { 0 };

	for (unsigned int i = 0; i < rounds; i++) {
		assert_true(own_device_add());
		one_round(s, i, &outcome);
		round_end(NULL);
	}
	print_message("# %s: %u rounds, %u opens refused, %llu bytes late\n",
		      s->name, outcome.rounds, outcome.refused,
		      (unsigned long long)outcome.late);
	assert_int_equal(outcome.late, 0);
}

/* The same without daxpin's check shows why the check is needed. */
static void without_a_check_bytes_are_late(void **state)
{
	unsigned char *at;
	uint64_t late;
	int fd;

	(void)state;
	assert_true(own_device_add());
	begin_round(KEEP_MAPPINGS, false);
	do_in_order(KILL_ONLY, 0);
	fd = open(pool_path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	at = mmap(NULL, 4 * OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	late = watch(at + OFFSET);
	print_message("# unchecked: %llu bytes late\n",
		      (unsigned long long)late);
	assert_int_not_equal(late, 0);
	munmap(at, 4 * OFFSET);
	close(fd);
}

/* Takes the descriptor of the verbs device from the owner. */
static int take_uverbs(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, owner, 0);

	for (int fd = 3; pidfd >= 0 && fd < 64; fd++) {
		int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		char path[64], target[64] = "";

		if (copy < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
		if (readlink(path, target, sizeof(target) - 1) > 0 &&
		    strstr(target, "uverbs")) {
			close(pidfd);
			return copy;
		}
		close(copy);
	}
	return -1;
}

static void begin_taker(void)
{
	int ends[2];
	char taken;

	assert_int_equal(pipe(ends), 0);
	holder = fork();
	assert_true(holder >= 0);
	if (!holder) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		taken = take_uverbs() >= 0;
		if (write(ends[1], &taken, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], &taken, 1), 1);
	assert_true(taken);
	close(ends[0]);
	close(ends[1]);
}

/*
 * Opens in a container. Returns 1 if the open is refused, otherwise 0, and counts
 * late bytes.
 */
static int open_contained(unsigned int ms)
{
	int status;
	pid_t pid = fork_container();

	assert_true(pid >= 0);
	if (!pid) {
		struct fixture f = { 0 };
		struct daxpin_segment segment;
		int ret = enter_mounts() ? open_pool(&f, ms) : -EPERM;

		if (ret)
			_exit(ret == -EBUSY && strstr(f.errmsg,
						      "verbs context") ?
			      1 : 2);
		if (daxpin_segment(f.pool, 0, &segment))
			_exit(3);
		counters->late = watch((unsigned char *)segment.base + OFFSET);
		_exit(daxpin_pool_close(f.pool) ? 4 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void no_byte_is_late_in_containers(void **state)
{
	unsigned int refused = 0;
	struct fixture f = { 0 };

	(void)state;
	/* Containers cannot see that the device of the recorded owner is gone. */
	assert_int_equal(open_pool(&f, LONG_MS), 0);
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	for (unsigned int i = 0; i < rounds; i++) {
		assert_true(own_device_add());
		counters->late = 0;
		begin_round(KEEP_NOTHING, true);
		begin_taker();
		end_owner();
		assert_int_equal(open_contained(SHORT_MS), 1);
		assert_int_equal(open_pool(&f, SHORT_MS), -EBUSY);
		assert_non_null(strstr(f.errmsg, "verbs context"));
		refused += 2;
		end_process(&holder);
		/* Its peer may still be writing. */
		assert_int_equal(open_contained(LONG_MS), 0);
		assert_int_equal(counters->late, 0);
		round_end(NULL);
	}
	print_message("# containers: %u rounds, %u opens refused, 0 bytes late\n",
		      rounds, refused);
}

#define SCENARIO(keep, order) { #keep " " #order, keep, order }

static struct scenario scenarios[] = {
	SCENARIO(KEEP_MAPPINGS, KILL_ONLY),
	SCENARIO(KEEP_MAPPINGS, KILL_THEN_REMOVE),
	SCENARIO(KEEP_MAPPINGS, REMOVE_THEN_KILL),
	SCENARIO(KEEP_MAPPINGS, BOTH_AT_ONCE),
	SCENARIO(KEEP_MAPPINGS, STOP_REMOVE_KILL),
	SCENARIO(KEEP_DESCRIPTOR, KILL_THEN_REMOVE),
	SCENARIO(KEEP_DESCRIPTOR, BOTH_AT_ONCE),
	SCENARIO(KEEP_MEMORY, KILL_THEN_REMOVE),
	SCENARIO(KEEP_MEMORY, BOTH_AT_ONCE),
	SCENARIO(KEEP_NOTHING, KILL_THEN_REMOVE),
	SCENARIO(KEEP_NOTHING, REMOVE_THEN_KILL),
	SCENARIO(KEEP_NOTHING, BOTH_AT_ONCE),
};

#define SCENARIOS	(sizeof(scenarios) / sizeof(scenarios[0]))

int main(int argc, char **argv)
{
	struct CMUnitTest tests[SCENARIOS + 2] = {
		cmocka_unit_test_teardown(without_a_check_bytes_are_late,
					  round_end),
		cmocka_unit_test_teardown(no_byte_is_late_in_containers,
					  round_end),
	};
	static struct place place;
	struct daxpin_pool *pool;
	static char path[64];
	int takes;

	rdma_device = getenv("DAXPIN_TEST_RDMA");
	place.device = getenv("DAXPIN_TEST_DAX");
	if (!rdma_device || !place.device) {
		printf("DAXPIN_TEST_RDMA and DAXPIN_TEST_DAX are not both set: run it in the lab (./dev lab)\n");
		return 77;
	}
	takes = own_device_removal_takes_contexts();
	if (takes < 0) {
		printf("this kernel makes no second RDMA device\n");
		return 77;
	}
	removal_takes_contexts = takes;
	printf("# a device that is removed %s\n",
	       takes ? "takes its contexts from their processes" :
		       "waits until its contexts are closed");
	if (argc > 1)
		rounds = (unsigned int)atoi(argv[1]);
	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counters == MAP_FAILED || make_pool(&place, path, &pool) ||
	    daxpin_pool_close(pool))
		return 1;
	pool_path = path;
	if (system("echo 01234567-89ab-4cde-8f01-23456789abcd >" BOOT_ID_FILE))
		return 1;
	/* Orphaned holders become children of this process, which reaps them. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < SCENARIOS; i++)
		tests[i + 2] = (struct CMUnitTest) {
			.name = scenarios[i].name,
			.test_func = no_byte_is_late,
			.teardown_func = round_end,
			.initial_state = &scenarios[i],
		};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
