/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Facts of docs/rdma.md about the on-demand regions of soft-RoCE, shown with plain
 * verbs, without what daxpin does because of them.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include "child.h"
#include "rdma_ends.h"

#define ON_DEMAND (ALL_ACCESS | IBV_ACCESS_ON_DEMAND)
#define PAGE 4096u
#define FILE_BYTES (4u << 20)
#define OWNER_BYTE 0x33

static unsigned char *map_shared(void *where, int fd)
{
	int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0) |
		    (where ? MAP_FIXED : 0);
	unsigned char *memory =
		mmap(where, FILE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

/* A write of the far end to an on-demand region. */
static struct transfer write_to(struct ends *e, const struct ibv_mr *mr,
				uint64_t offset, uint32_t length)
{
	struct transfer write = far_write(e, length);

	write.remote = (uintptr_t)mr->addr + offset;
	write.rkey = mr->rkey;
	return write;
}

/* --------------------------------------------- R13: EINTR, a signal is not an error */

#define FRESH_PROCESSES 12
#define TIMER_US 200

static void ignore(int signal)
{
	(void)signal;
}

/* The first on-demand region of a process. Returns how many tries failed with EINTR. */
static int register_under_a_timer(void *arg)
{
	const struct itimerval timer = { { 0, TIMER_US }, { 0, TIMER_US } };
	struct sigaction action = { .sa_handler = ignore };
	struct ibv_mr *mr = NULL;
	int failed = 0;
	struct nic nic;

	if (nic_open(&nic, rdma_device))
		return 255;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (!mr && failed < 200) {
		mr = ibv_reg_mr(nic.pd, arg, PAGE, ON_DEMAND);
		if (!mr && errno != EINTR)
			return 254;
		failed += !mr;
	}
	return mr ? failed : 253;
}

static void a_first_region_may_fail_with_eintr(void **state)
{
	unsigned char *memory = map_shared(NULL, -1);
	int failed, processes = 0, most = 0;

	(void)state;
	for (int i = 0; i < FRESH_PROCESSES; i++) {
		failed = run_child(register_under_a_timer, memory);
		assert_in_range(failed, 0, 200);
		processes += failed > 0;
		most = failed > most ? failed : most;
	}
	print_message("# EINTR in %d of %d processes, up to %d times\n",
		      processes, FRESH_PROCESSES, most);
	munmap(memory, FILE_BYTES);
}

/* ------------------------------------------------ R14: bytes in the wrong places */

/* The byte that must be there after a write of three pages at 100. */
static unsigned char byte_after_a_write(uint32_t i)
{
	bool written = i >= 100 && i - 100 < 3 * PAGE;

	return written ? PEER_PATTERN : OLD_PATTERN;
}

static void a_write_off_page_boundaries_is_wrong(void **state)
{
	struct ends *e = *state;
	unsigned char *memory = map_shared(NULL, -1);
	struct ibv_mr *mr;
	struct transfer write;
	uint32_t wrong = 0;

	memset(memory, OLD_PATTERN, FILE_BYTES);
	mr = ibv_reg_mr(e->nic.pd, memory, FILE_BYTES, ON_DEMAND);
	assert_non_null(mr);
	write = write_to(e, mr, 100, 3 * PAGE);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_SUCCESS);
	for (uint32_t i = 0; i < 8 * PAGE; i++)
		wrong += memory[i] != byte_after_a_write(i);
	print_message("# %u of %u bytes are wrong\n", wrong, 3 * PAGE);
	assert_true(wrong > 0);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	munmap(memory, FILE_BYTES);
}

/* ------------------------------------------ R15: a key names addresses, and no page */

static int make_file(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/on-demand-XXXXXX",
		 getenv("DAXPIN_TEST_FSDAX"));
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(posix_fallocate(fd, 0, FILE_BYTES), 0);
	return fd;
}

static long long blocks_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_blocks;
}

/* Registers the memory on demand, and writes its first page by *ret_write, which can be
 * repeated. */
static struct ibv_mr *register_and_write(struct ends *e, void *memory,
					 struct transfer *ret_write)
{
	struct ibv_mr *mr = ibv_reg_mr(e->nic.pd, memory, FILE_BYTES, ON_DEMAND);

	assert_non_null(mr);
	*ret_write = write_to(e, mr, 0, PAGE);
	assert_int_equal(wire_transfer(&e->far, ret_write), IBV_WC_SUCCESS);
	return mr;
}

static void a_key_writes_to_a_file_that_was_punched(void **state)
{
	struct ends *e = *state;
	int fd = make_file();
	unsigned char *memory = map_shared(NULL, fd), owners[PAGE];
	struct transfer write;
	struct ibv_mr *mr = register_and_write(e, memory, &write);
	long long punched;

	assert_int_equal(fallocate(fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, FILE_BYTES / 2),
			 0);
	punched = blocks_of(fd);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_SUCCESS);
	assert_true(blocks_of(fd) > punched);
	/* What the range's next owner has written is lost. */
	memset(owners, OWNER_BYTE, PAGE);
	assert_int_equal(pwrite(fd, owners, PAGE, 0), PAGE);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_SUCCESS);
	assert_int_equal(pread(fd, owners, PAGE, 0), PAGE);
	assert_memory_equal(owners, e->source, PAGE);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	munmap(memory, FILE_BYTES);
	close(fd);
}

static void a_key_is_valid_again_when_a_truncated_file_grows(void **state)
{
	struct ends *e = *state;
	int fd = make_file();
	unsigned char *memory = map_shared(NULL, fd);
	struct transfer write;
	struct ibv_mr *mr = register_and_write(e, memory, &write);

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(connect_ends(e), 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_SUCCESS);
	assert_memory_equal(memory, e->source, PAGE);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	munmap(memory, FILE_BYTES);
	close(fd);
}

static void a_key_is_valid_for_what_is_mapped_later(void **state)
{
	struct ends *e = *state;
	unsigned char *memory = map_shared(NULL, -1);
	struct transfer write;
	struct ibv_mr *mr = register_and_write(e, memory, &write);

	assert_int_equal(munmap(memory, FILE_BYTES), 0);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(connect_ends(e), 0);
	memory = map_shared(memory, -1);
	memset(memory, OWNER_BYTE, PAGE);
	assert_int_equal(wire_transfer(&e->far, &write), IBV_WC_SUCCESS);
	assert_memory_equal(memory, e->source, PAGE);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	munmap(memory, FILE_BYTES);
}

/* ------------------------------------ R18: a flush to memory that is not persistent */

#define FLUSH_PERSISTENT (1 << 9) /* IBV_ACCESS_FLUSH_PERSISTENT of new libraries */

/* The device checks the medium of a pinned region only. */
static void ordinary_memory_is_accepted_as_persistent(void **state)
{
	const int flush = ALL_ACCESS | FLUSH_PERSISTENT;
	unsigned char *memory = map_shared(NULL, -1);
	struct ends *e = *state;
	struct ibv_mr *mr;

	assert_null(ibv_reg_mr(e->nic.pd, memory, FILE_BYTES, flush));
	assert_int_equal(errno, EINVAL);
	mr = ibv_reg_mr(e->nic.pd, memory, FILE_BYTES,
			flush | IBV_ACCESS_ON_DEMAND);
	assert_non_null(mr);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	munmap(memory, FILE_BYTES);
}

/* ------------------------------------------------------------------ main */

static bool has_on_demand_regions(void)
{
	struct ibv_device_attr_ex attr = { .comp_mask = 0 };
	struct nic nic;
	int err;

	if (nic_open(&nic, rdma_device))
		return false;
	err = ibv_query_device_ex(nic.context, NULL, &attr);
	nic_close(&nic);
	return !err && attr.odp_caps.general_caps & IBV_ODP_SUPPORT;
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, ends_setup, ends_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_region_may_fail_with_eintr),
		TEST(a_write_off_page_boundaries_is_wrong),
		TEST(a_key_writes_to_a_file_that_was_punched),
		TEST(a_key_is_valid_again_when_a_truncated_file_grows),
		TEST(a_key_is_valid_for_what_is_mapped_later),
		TEST(ordinary_memory_is_accepted_as_persistent),
	};

	rdma_device = getenv("DAXPIN_TEST_RDMA");
	if (!rdma_device || !getenv("DAXPIN_TEST_FSDAX")) {
		printf("DAXPIN_TEST_RDMA names no RDMA device, or DAXPIN_TEST_FSDAX no DAX filesystem: run it in the lab (./dev lab)\n");
		return 77;
	}
	if (!has_on_demand_regions()) {
		printf("# skipped: %s has no on-demand regions\n", rdma_device);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
