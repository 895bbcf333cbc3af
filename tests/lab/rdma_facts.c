/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_facts [large]: facts of docs/rdma.md, shown with plain verbs on the lab's
 * soft-RoCE, without what daxpin does because of them. `large` causes a warning of the
 * kernel.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "child.h"
#include "nobody.h"
#include "rdma_ends.h"

/* ---------------------------------------------- R8: munmap() revokes nothing */

#define DAX_BYTES (2u << 20)
#define DAX_OFFSET (256l << 20)

static unsigned char *map_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char *memory;

	assert_true(fd >= 0);
	memory = mmap(NULL, DAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      DAX_OFFSET);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(close(fd), 0);
	return memory;
}

static void a_peer_writes_after_munmap(void **state)
{
	const char *device = getenv("DAXPIN_TEST_DAX");
	struct ends *e = *state;
	struct transfer write = far_write(e, 4096);
	unsigned char *memory;
	struct ibv_mr *mr;

	if (!device) {
		print_message("# skipped: DAXPIN_TEST_DAX names no device\n");
		skip();
	}
	memory = map_device(device);
	memset(memory, OLD_PATTERN, 4096);
	mr = ibv_reg_mr(e->nic.pd, memory, DAX_BYTES, ALL_ACCESS);
	assert_non_null(mr);
	write.remote = (uintptr_t)memory;
	write.rkey = mr->rkey;
	assert_int_equal(munmap(memory, DAX_BYTES), 0);
	assert_int_equal(wire_transfer(&e->far, &write), 0);
	memory = map_device(device);
	assert_int_equal(memory[0], PEER_PATTERN);
	assert_int_equal(memory[4095], PEER_PATTERN);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	assert_int_equal(munmap(memory, DAX_BYTES), 0);
}

/* --------------------------------- R9: the target does not see one-sided operations */

#define SEEN_BYTES 4096u
#define OPERATIONS 500
#define STOPPED_WRITES 300
#define STOPPED_ROUNDS 10

struct target_report {
	struct wire_address address;
	uint64_t remote;
	uint32_t rkey;
	int completions;
};

static void post_receive(struct wire *wire)
{
	struct ibv_recv_wr *bad, receive = { .wr_id = 1 };

	assert_int_equal(ibv_post_recv(wire->qp, &receive, &bad), 0);
}

/* Sends the number of its completions whenever the test sends a step. */
static int be_a_target(void *arg, int fd)
{
	struct target_report report = { .remote = (uintptr_t)arg };
	struct wire_address peer;
	struct wire wire;
	struct nic nic;
	struct ibv_mr *mr;
	struct ibv_wc wc;

	assert_int_equal(nic_open(&nic, rdma_device), 0);
	assert_int_equal(wire_open(&wire, &nic), 0);
	mr = ibv_reg_mr(nic.pd, arg, SEEN_BYTES, ALL_ACCESS);
	assert_non_null(mr);
	report.rkey = mr->rkey;
	report.address = wire_address(&wire);
	assert_true(send_message(fd, &report, sizeof(report)));
	assert_true(receive_message(fd, &peer, sizeof(peer)));
	assert_int_equal(wire_connect(&wire, &peer), 0);
	post_receive(&wire);
	for (;;) {
		assert_true(send_message(fd, &report, sizeof(report)));
		if (!await_step(fd))
			return 0;
		report.completions += ibv_poll_cq(wire.cq, 1, &wc);
	}
}

/* The CPU time of a process, in nanoseconds, and how often it ran. */
static void read_schedstat(pid_t pid, unsigned long long *ran,
			   unsigned long long *turns)
{
	unsigned long long waited;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu %llu %llu", ran, &waited, turns),
			 3);
	fclose(file);
}

/* Whether a process that is stopped ran while a peer wrote into its memory. */
static bool ran_during_writes(struct ends *e, struct child *target,
			      struct transfer *write,
			      const unsigned char *memory)
{
	unsigned long long ran[2], turns[2];

	read_schedstat(target->pid, &ran[0], &turns[0]);
	for (int i = 0; i < STOPPED_WRITES; i++) {
		e->source[0] = (unsigned char)i;
		assert_int_equal(wire_transfer(&e->far, write), 0);
		assert_int_equal(memory[0], (unsigned char)i);
	}
	read_schedstat(target->pid, &ran[1], &turns[1]);
	return ran[1] != ran[0] || turns[1] != turns[0];
}

/*
 * The kernel reports a stop before the process has left its CPU, so the first rounds
 * may count that it ran on to its stop. If writes needed the process, it would run in
 * each round.
 */
static void writes_while_stopped(struct ends *e, struct child *target,
				 struct transfer *write,
				 const unsigned char *memory)
{
	int status, rounds = STOPPED_ROUNDS;

	assert_int_equal(kill(target->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(target->pid, &status, WUNTRACED), target->pid);
	assert_true(WIFSTOPPED(status));
	while (ran_during_writes(e, target, write, memory))
		assert_int_not_equal(--rounds, 0);
	assert_int_equal(kill(target->pid, SIGCONT), 0);
}

static int completions_at(struct child *target)
{
	struct target_report report;

	assert_true(send_step(target->fd));
	assert_true(receive_message(target->fd, &report, sizeof(report)));
	return report.completions;
}

static struct transfer connect_target(struct ends *e, struct child *target)
{
	struct wire_address ours = wire_address(&e->far);
	struct target_report report;

	assert_true(receive_message(target->fd, &report, sizeof(report)));
	assert_int_equal(wire_connect(&e->far, &report.address), 0);
	assert_true(send_message(target->fd, &ours, sizeof(ours)));
	assert_true(receive_message(target->fd, &report, sizeof(report)));
	return (struct transfer){
		.opcode = IBV_WR_RDMA_WRITE,
		.mr = e->source_mr,
		.remote = report.remote,
		.rkey = report.rkey,
		.length = SEEN_BYTES,
	};
}

static void one_sided_operations_are_not_seen(void **state)
{
	struct ends *e = *state;
	unsigned char *memory = mmap(NULL, SEEN_BYTES, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct transfer access;
	struct child target;
	long long pins;

	assert_ptr_not_equal(memory, MAP_FAILED);
	target = fork_child(be_a_target, memory);
	access = connect_target(e, &target);
	pins = pinned_pages();
	for (int i = 0; i < OPERATIONS; i++) {
		access.opcode = IBV_WR_RDMA_WRITE;
		assert_int_equal(wire_transfer(&e->far, &access), 0);
		access.opcode = IBV_WR_RDMA_READ;
		assert_int_equal(wire_transfer(&e->far, &access), 0);
	}
	access.opcode = IBV_WR_RDMA_WRITE;
	writes_while_stopped(e, &target, &access, memory);
	assert_int_equal(pinned_pages(), pins);
	assert_int_equal(completions_at(&target), 0);
	/* The target would have seen a completion: immediate data causes one. */
	access.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
	assert_int_equal(wire_transfer(&e->far, &access), 0);
	assert_int_equal(completions_at(&target), 1);
	stop_child(&target);
	assert_int_equal(munmap(memory, SEEN_BYTES), 0);
}

/* ------------------------------------------- R12: each region is charged by itself */

#define LIMIT_BYTES (8u << 20)
#define CHARGED_BYTES (4u << 20)

/* The exit status is the number of the step that failed. */
static int register_on_little_memory(void *arg)
{
	void *memory = mmap(NULL, CHARGED_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct nic nic;

	(void)arg;
	if (memory == MAP_FAILED || !drop_privileges(NOBODY, LIMIT_BYTES))
		return 1;
	if (nic_open(&nic, rdma_device))
		return 2;
	if (!ibv_reg_mr(nic.pd, memory, CHARGED_BYTES, ALL_ACCESS))
		return 3;
	if (!ibv_reg_mr(nic.pd, memory, CHARGED_BYTES, ALL_ACCESS))
		return 4;
	if (ibv_reg_mr(nic.pd, memory, CHARGED_BYTES, ALL_ACCESS))
		return 5;
	if (errno != ENOMEM)
		return 6;
	/* A device without on-demand regions refuses it with another error. */
	if (!ibv_reg_mr(nic.pd, memory, CHARGED_BYTES,
			ALL_ACCESS | IBV_ACCESS_ON_DEMAND) &&
	    errno == ENOMEM)
		return 7;
	return 0;
}

static void regions_of_the_same_memory_are_charged_twice(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# skipped: only root can become another user\n");
		skip();
	}
	assert_int_equal(run_child(register_on_little_memory, NULL), 0);
}

/* ---------------------------------------------- R16: a retry count of 7 never ends */

#define SHORT_TIMEOUT 14 /* 4.096 us << 14 is 67 ms */
#define LIMITED_RETRIES 2
#define UNLIMITED 7
#define FAILURES 5
#define RETRIES_SEEN 30

/* Retries of the device so far, or -1: only soft-RoCE has this counter. */
static long long device_retries(void)
{
	long long count = -1;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path),
		 "/sys/class/infiniband/%s/ports/1/hw_counters/"
		 "completer_retry_err",
		 rdma_device);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fscanf(file, "%lld", &count) != 1)
		count = -1;
	fclose(file);
	return count;
}

/* A write to a queue pair that does not exist any more. */
static void write_to_nobody(struct ends *e, struct wire *wire, uint8_t retries,
			    const struct wire_address *gone)
{
	struct transfer write = far_write(e, 64);

	wire->ack_timeout = SHORT_TIMEOUT;
	wire->retry_count = retries;
	wire_address(wire);
	assert_int_equal(wire_connect(wire, gone), 0);
	assert_int_equal(wire_post(wire, &write), 0);
}

static struct wire_address address_of_a_destroyed_queue_pair(struct ends *e)
{
	struct wire_address address;
	struct wire wire;

	assert_int_equal(wire_open(&wire, &e->nic), 0);
	address = wire_address(&wire);
	wire_close(&wire);
	return address;
}

static void a_retry_count_of_7_never_ends(void **state)
{
	struct ends *e = *state;
	struct wire_address gone = address_of_a_destroyed_queue_pair(e);
	long long before = device_retries(), limited;
	int i;

	if (before < 0) {
		print_message("# skipped: %s does not count retries\n",
			      rdma_device);
		skip();
	}
	for (i = 0; i < FAILURES; i++) {
		write_to_nobody(e, &e->far, LIMITED_RETRIES, &gone);
		assert_int_equal(completion_of(&e->far), IBV_WC_RETRY_EXC_ERR);
	}
	limited = device_retries() - before;
	assert_int_equal(limited, FAILURES * LIMITED_RETRIES);
	before = device_retries();
	write_to_nobody(e, &e->near, UNLIMITED, &gone);
	for (i = 0; i < WAIT_STEPS && device_retries() < before + RETRIES_SEEN;
	     i++)
		one_millisecond();
	assert_true(device_retries() >= before + RETRIES_SEEN);
	assert_no_completion(&e->near);
	stop_queue_pair(&e->near);
	assert_int_equal(completion_of(&e->near), IBV_WC_WR_FLUSH_ERR);
	print_message(
		"# with %d: %lld retries in %d failures; with %d: %lld and no end\n",
		LIMITED_RETRIES, limited, FAILURES, UNLIMITED,
		device_retries() - before);
}

/* ------------------------------------ R17: a packet in flight can corrupt a reset */

#define RESETS 100
#define WRITES 4

static void a_reset_during_writes_is_repeated(void **state)
{
	struct ends *e = *state;
	struct transfer write = far_write(e, (uint32_t)MR_BYTES);
	unsigned int failed = 0, i, k;
	int first_error = 0;

	for (i = 0; i < RESETS; i++) {
		*(volatile unsigned char *)e->memory = OLD_PATTERN;
		for (k = 0; k < WRITES; k++)
			assert_int_equal(wire_post(&e->far, &write), 0);
		while (*(volatile unsigned char *)e->memory == OLD_PATTERN)
			; /* until the first packet has arrived */
		assert_int_equal(connect_ends(e), 0);
		failed += e->near.first_error != 0;
		if (e->near.first_error)
			first_error = e->near.first_error;
	}
	print_message("# %u of %d first tries failed (%s)\n", failed, RESETS,
		      strerror(-first_error));
	assert_true(!first_error || first_error == -EINVAL);
	assert_int_equal(wire_transfer(&e->far, &write), 0);
}

/* ------------------------------------------- R11: a pinned region has 1 GiB at most */

#define GIB (UINT64_C(1) << 30)

/* Maps the same 2 MiB of the device over and over, since it is smaller than that. */
static unsigned char *map_repeatedly(const char *device, uint64_t bytes)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);
	unsigned char *reserved, *memory;

	assert_true(fd >= 0);
	reserved = mmap(NULL, bytes + DAX_BYTES, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(reserved, MAP_FAILED);
	memory = reserved + DAX_BYTES - (uintptr_t)reserved % DAX_BYTES;
	for (uint64_t at = 0; at < bytes; at += DAX_BYTES)
		assert_ptr_not_equal(
			mmap(memory + at, DAX_BYTES, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, fd, DAX_OFFSET),
			MAP_FAILED);
	close(fd);
	return memory;
}

static void a_region_over_1_gib_is_refused(void **state)
{
	const char *kernel = getenv("DAXPIN_TEST_KERNEL");
	const char *device = getenv("DAXPIN_TEST_DAX");
	struct ends *e = *state;
	unsigned char *memory;
	struct ibv_mr *mr;

	if (!device) {
		print_message("# skipped: DAXPIN_TEST_DAX names no device\n");
		skip();
	}
	memory = map_repeatedly(device, GIB + DAX_BYTES);
	mr = ibv_reg_mr(e->nic.pd, memory, GIB, ALL_ACCESS);
	assert_non_null(mr);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	mr = ibv_reg_mr(e->nic.pd, memory, GIB + DAX_BYTES, ALL_ACCESS);
	print_message("# 1026 MiB: %s\n", mr ? "accepted" : strerror(errno));
	if (mr) {
		/* Linux 6.1 accepts it. */
		assert_string_not_equal(kernel ? kernel : "", "idle-at-zero");
		assert_int_equal(ibv_dereg_mr(mr), 0);
	} else {
		assert_int_equal(errno, ENOMEM);
	}
	assert_int_equal(munmap(memory, GIB + DAX_BYTES), 0);
}

/* ------------------------------------------------------------------ main */

int main(int argc, char **argv)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, ends_setup, ends_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_peer_writes_after_munmap),
		TEST(one_sided_operations_are_not_seen),
		cmocka_unit_test(regions_of_the_same_memory_are_charged_twice),
		TEST(a_retry_count_of_7_never_ends),
		TEST(a_reset_during_writes_is_repeated),
	};
	const struct CMUnitTest large[] = {
		TEST(a_region_over_1_gib_is_refused),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1 && !strcmp(argv[1], "large"))
		return cmocka_run_group_tests(large, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
