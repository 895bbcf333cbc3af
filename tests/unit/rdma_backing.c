/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants on memory that looks like a DAX filesystem. Such a grant is either an
 * on-demand region, if a trial of the device succeeded, or bounced: a copy of the
 * extent that the revoke writes back. These tests show which holds exclude bounced
 * grants, and what happens if the trial cannot be made. They also grant parts of an
 * extent, on any pool.
 */
#include <sys/mman.h>
#include "fixture.h"
#include "verbs_fake.h"
#include "rdma/probe.h"
#include "rdma/scratch.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

#define READ		IBV_ACCESS_REMOTE_READ
#define EXCLUSIVE		(DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE)

static struct {
	bool is_fsdax;
	enum daxpin_rdma_verdict verdict;
	int probe_error;		/* why the trial cannot be made */
	int scratch_error;		/* why no file can be made beside the pool */
	unsigned int probes, scratches;
} device;

int __real_daxpin_pool_info(struct daxpin_pool *pool,
			    struct daxpin_pool_info *ret_info);
int __wrap_daxpin_pool_info(struct daxpin_pool *pool,
			    struct daxpin_pool_info *ret_info);
int __wrap_daxpin_pool_info(struct daxpin_pool *pool,
			    struct daxpin_pool_info *ret_info)
{
	int ret = __real_daxpin_pool_info(pool, ret_info);

	if (!ret && device.is_fsdax)
		ret_info->source = DAXPIN_SOURCE_FSDAX;
	return ret;
}

int __wrap_dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
			 struct daxpin_rdma_report *report, bool *ret_kept);
int __wrap_dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
			 struct daxpin_rdma_report *report, bool *ret_kept)
{
	assert_ptr_equal(pd, &fake_pd);
	assert_non_null(memory);
	assert_int_equal(tries, DAXPIN_RDMA_TRY_ODP);
	assert_false(*ret_kept);
	device.probes++;
	if (device.probe_error)
		return device.probe_error;
	report->odp.verdict = device.verdict;
	return 0;
}

int __wrap_dp_scratch_map(struct daxpin_pool *pool, uint64_t bytes,
			  void **ret_memory);
int __wrap_dp_scratch_map(struct daxpin_pool *pool, uint64_t bytes,
			  void **ret_memory)
{
	(void)pool;
	device.scratches++;
	if (device.scratch_error)
		return device.scratch_error;
	*ret_memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return *ret_memory == MAP_FAILED ? -errno : 0;
}

static int attach_again(uint32_t flags)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .flags = flags,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	if (rdma)
		assert_int_equal(daxpin_rdma_detach(rdma), 0);
	rdma = NULL;
	return daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma);
}

static int setup_pinned(void **state)
{
	memset(&device, 0, sizeof(device));
	return setup(state);
}

static int setup_bounced(void **state)
{
	if (setup_pinned(state))
		return -1;
	device.is_fsdax = true;
	device.verdict = DAXPIN_RDMA_WRONG;
	return attach_again(DAXPIN_RDMA_BOUNCE);
}

static int try_grant(const struct daxpin_grant_options *wanted,
		     struct daxpin_grant **ret_grant)
{
	struct daxpin_grant_options options = *wanted;

	options.size = sizeof(options);
	options.errmsg = f->errmsg;
	options.errmsg_size = sizeof(f->errmsg);
	f->errmsg[0] = '\0';
	return daxpin_rdma_grant(rdma, extent, &options, ret_grant);
}

static struct daxpin_grant *grant_with(struct daxpin_grant_options options)
{
	struct daxpin_grant *grant;

	assert_int_equal(try_grant(&options, &grant), 0);
	return grant;
}

static int grant_fails(struct daxpin_grant_options options)
{
	struct daxpin_grant *grant = NULL;
	int ret = try_grant(&options, &grant);

	assert_null(grant);
	assert_string_not_equal(f->errmsg, "");
	return ret;
}

static unsigned char *memory_of(struct daxpin_extent of)
{
	return daxpin_ptr(f->pool, of, 0);
}

static int set(uint64_t value)
{
	const struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = extent, .value = value,
	};

	return daxpin_publish(f->pool, &op, 1, NULL, NULL);
}

static void keep(void)
{
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
}

static void retire(void)
{
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
}

/* Writes to the address in the peer's key, as the peer would. */
static void write_as_peer(struct daxpin_grant *grant, int byte)
{
	struct daxpin_grant_key key;

	daxpin_grant_key(grant, &key);
	memset((void *)(uintptr_t)key.addr, byte, key.length);
}

/* ------------------------------------------------ exclusions, both ways (C7) */

#define WRITING		{ .access = WRITE }

static void a_bounced_write_grant_excludes_holds_grants_and_publishes(void **state)
{
	struct daxpin_op ends[] = {
		{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_WRITERS,
		  .extent = extent },
	};
	struct daxpin_grant *grant;

	(void)state;
	grant = grant_with((struct daxpin_grant_options)WRITING);
	assert_int_equal(daxpin_publish(f->pool, ends, 1, NULL, NULL), -EBUSY);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	keep();
	assert_int_equal(set(7), 0);
	grant = grant_with((struct daxpin_grant_options)WRITING);
	assert_int_equal(set(8), -EBUSY);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE),
			 -EBUSY);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EBUSY);
	assert_int_equal(daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ),
			 -EBUSY);
	assert_int_equal(grant_fails((struct daxpin_grant_options)WRITING),
			 -EBUSY);
	assert_int_equal(grant_fails((struct daxpin_grant_options) {
			 .access = READ }), -EBUSY);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(*(uint64_t *)memory_of(extent), 7);
	assert_int_equal(set(9), 0);
	retire();
}

static void a_bounced_write_grant_is_refused_while_others_hold(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	keep();
	for (uint32_t access = DAXPIN_HOLD_READ; access <= DAXPIN_HOLD_WRITE;
	     access++) {
		assert_int_equal(daxpin_hold(f->pool, extent, access), 0);
		assert_int_equal(grant_fails((struct daxpin_grant_options)
					     WRITING), -EBUSY);
		assert_int_equal(daxpin_drop(f->pool, extent), 0);
	}
	/*
	 * A grant for reading only is a copy of the extent as it is. Others may use the
	 * extent.
	 */
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	grant = grant_with((struct daxpin_grant_options) { .access = READ });
	assert_int_equal(set(5), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(*(uint64_t *)memory_of(extent), 5);
	retire();
}

/* Every call that takes a hold, and every operation that changes bytes. */
static void no_call_gets_past_a_bounced_write_grant(void **state)
{
	struct daxpin_hold hold = { 0 };
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_SET, .extent = extent, .value = 8 },
		{ .type = DAXPIN_OP_ROOT, .extent = extent, .name = "name" },
	};
	struct daxpin_extent held[2], found;
	struct daxpin_grant *grant;
	size_t failed = 0;

	(void)state;
	keep();
	assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, &held[0]), 0);
	held[1] = extent;
	grant = grant_with((struct daxpin_grant_options)WRITING);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ,
					&found), -EBUSY);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "another", &hold), -EBUSY);
	assert_int_equal(daxpin_hold_many(f->pool, held, 2, DAXPIN_HOLD_WRITE,
					  &failed), -EBUSY);
	assert_int_equal(failed, 1);
	assert_int_equal(daxpin_hold(f->pool, extent, EXCLUSIVE), -EBUSY);
	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, &failed), -EBUSY);
	assert_int_equal(failed, 0);
	assert_int_equal(daxpin_root(f->pool, "name", &found), -ENOENT);
	assert_int_equal(daxpin_idle(f->pool, held[0]), 1);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ,
					&found), 0);
	assert_int_equal(daxpin_drop(f->pool, found), 0);
	assert_int_equal(daxpin_cancel(f->pool, held[0]), 0);
	retire();
}

/* One call ends the grant and publishes a SET, which the write-back must precede. */
static void a_set_is_published_after_its_grant_is_written_back(void **state)
{
	const struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = extent, .value = 5,
	};
	struct daxpin_grant *grant;

	(void)state;
	keep();
	grant = grant_with((struct daxpin_grant_options)WRITING);
	write_as_peer(grant, 0x77);
	assert_int_equal(daxpin_rdma_publish(rdma, &grant, 1, &op, 1), 0);
	assert_null(grant);
	assert_int_equal(*(uint64_t *)memory_of(extent), 5);
	assert_int_equal(memory_of(extent)[8], 0x77);
	retire();
}

/* Two peers fill the halves of one extent, and neither must see old bytes. */
static void a_zeroing_grant_of_another_part_is_refused(void **state)
{
	struct daxpin_grant_options half = {
		.flags = DAXPIN_GRANT_ZERO, .access = WRITE | READ,
		.length = BYTES / 2,
	};
	struct daxpin_hold request = { 0 };
	struct daxpin_grant *first, *second;

	(void)state;
	memset(memory_of(extent), 0xee, BYTES);
	first = grant_with(half);
	write_as_peer(first, 0x77);
	half.offset = BYTES / 2;
	assert_int_equal(grant_fails(half), -EBUSY);
	assert_int_equal(memory_of(extent)[BYTES / 2], 0xee);
	assert_int_equal(daxpin_rdma_revoke(first), 0);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_WRITE,
					      "a request", &request), 0);
	assert_int_equal(grant_fails(half), -EBUSY);
	assert_int_equal(daxpin_drop_labelled(f->pool, &request), 0);
	second = grant_with(half);
	assert_int_equal(memory_of(extent)[BYTES / 2 - 1], 0x77);
	assert_int_equal(memory_of(extent)[BYTES / 2], 0);
	assert_int_equal(daxpin_rdma_revoke(second), 0);
}

static void a_zeroing_grant_is_refused_while_others_hold(void **state)
{
	const struct daxpin_grant_options zeroing = {
		.flags = DAXPIN_GRANT_ZERO, .access = WRITE | READ,
	};
	struct daxpin_grant *first, *second;

	(void)state;
	memset(memory_of(extent), 0xee, BYTES);
	first = grant_with(zeroing);
	assert_int_equal(memory_of(extent)[BYTES - 1], 0);
	write_as_peer(first, 0x77);
	assert_int_equal(grant_fails(zeroing), -EBUSY);
	assert_int_equal(memory_of(extent)[0], 0x77);
	/* A second grant is possible if it does not zero the extent. */
	second = grant_with((struct daxpin_grant_options) { .access = WRITE });
	assert_int_equal(daxpin_rdma_revoke(first), 0);
	assert_int_equal(grant_fails(zeroing), -EBUSY);
	assert_int_equal(daxpin_rdma_revoke(second), 0);
	assert_int_equal(memory_of(extent)[0], 0x77);
	assert_int_equal(daxpin_hold(f->pool, extent, EXCLUSIVE), 0);
	assert_int_equal(grant_fails(zeroing), -EBUSY);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	keep();
	assert_int_equal(grant_fails(zeroing), -EINVAL);
	assert_int_equal(memory_of(extent)[0], 0x77);
	retire();
}

/* -------------------------------------------------------- a part of an extent */

static void a_grant_of_a_part_covers_exactly_that_part(void **state)
{
	struct daxpin_grant *grant;
	struct daxpin_grant_key key;

	(void)state;
	memset(memory_of(extent), 0xee, BYTES);
	grant = grant_with((struct daxpin_grant_options) {
		.flags = DAXPIN_GRANT_ZERO, .access = WRITE | READ,
		.offset = 100, .length = 1000 });
	daxpin_grant_key(grant, &key);
	assert_int_equal(key.offset, 100);
	assert_int_equal(key.length, 1000);
	assert_int_equal(key.addr, (uintptr_t)memory_of(extent) + 100);
	assert_int_equal(fake.longest, 1000);
	assert_int_equal(memory_of(extent)[99], 0xee);
	assert_int_equal(memory_of(extent)[100], 0);
	assert_int_equal(memory_of(extent)[1099], 0);
	assert_int_equal(memory_of(extent)[1100], 0xee);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	grant = grant_with((struct daxpin_grant_options) { .access = WRITE,
			   .offset = 4097 });
	daxpin_grant_key(grant, &key);
	assert_int_equal(key.length, BYTES - 4097);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

static void a_grant_beyond_the_extent_is_refused(void **state)
{
	const uint64_t bad[][2] = {
		{ BYTES, 0 }, { BYTES, 1 }, { 0, BYTES + 1 }, { 1, BYTES },
		{ UINT64_MAX, 2 }, { 2, UINT64_MAX }, { UINT64_MAX, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(grant_fails((struct daxpin_grant_options) {
			.access = WRITE, .offset = bad[i][0],
			.length = bad[i][1] }), -EINVAL);
	assert_int_equal(fake.regs, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

/* The revoke does not overwrite changes of the bytes before and after the part. */
static void a_bounced_grant_writes_back_only_its_part(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	memset(memory_of(extent), 0xee, BYTES);
	grant = grant_with((struct daxpin_grant_options) { .access = WRITE,
			   .offset = 100, .length = 1000 });
	assert_int_equal(counts().bounced_bytes, 1000);
	write_as_peer(grant, 0x77);
	memory_of(extent)[99] = memory_of(extent)[1100] = 0x11;
	assert_int_equal(memory_of(extent)[100], 0xee);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(memory_of(extent)[99], 0x11);
	assert_int_equal(memory_of(extent)[100], 0x77);
	assert_int_equal(memory_of(extent)[1099], 0x77);
	assert_int_equal(memory_of(extent)[1100], 0x11);
}

/* --------------------------------------------- a trial that could not be made */

static struct daxpin_rdma_finding finding(void)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };

	assert_int_equal(daxpin_rdma_report(rdma, &report), 0);
	return report.odp;
}

static void a_trial_on_a_link_that_is_down_is_repeated(void **state)
{
	struct daxpin_grant *grant;
	struct daxpin_grant_key key;

	(void)state;
	device.is_fsdax = true;
	device.verdict = DAXPIN_RDMA_WORKS;
	device.probe_error = -ENETDOWN;
	assert_int_equal(attach_again(0), 0);
	assert_int_equal(counts().mode, DAXPIN_RDMA_UNDECIDED);
	assert_int_equal(finding().verdict, DAXPIN_RDMA_UNKNOWN);
	assert_int_equal(finding().error, -ENETDOWN);
	assert_int_equal(grant_fails((struct daxpin_grant_options)WRITING),
			 -ENETDOWN);
	device.probe_error = 0;
	/*
	 * The library spends at most a tenth of the time on trials, so this is
	 * repeated.
	 */
	for (;;) {
		const struct daxpin_grant_options options = WRITING;

		if (!try_grant(&options, &grant))
			break;
	}
	assert_int_equal(counts().mode, DAXPIN_RDMA_ON_DEMAND);
	daxpin_grant_key(grant, &key);
	assert_int_equal(key.access & DAXPIN_KEY_BOUNCED, 0);
	assert_true(fake.access & IBV_ACCESS_ON_DEMAND);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	device.probes = 0;
	assert_int_equal(daxpin_rdma_revoke(grant_with((struct daxpin_grant_options)
						       WRITING)), 0);
	assert_int_equal(device.probes, 0);
}

static void grants_are_no_longer_bounced_after_a_successful_trial(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	device.is_fsdax = true;
	device.verdict = DAXPIN_RDMA_WORKS;
	device.probe_error = -ENETDOWN;
	assert_int_equal(attach_again(DAXPIN_RDMA_BOUNCE), 0);
	grant = grant_with((struct daxpin_grant_options)WRITING);
	assert_int_equal(counts().bounced, 1);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	device.probe_error = 0;
	do {
		grant = grant_with((struct daxpin_grant_options)WRITING);
		assert_int_equal(daxpin_rdma_revoke(grant), 0);
	} while (counts().mode == DAXPIN_RDMA_UNDECIDED);
	assert_int_equal(counts().mode, DAXPIN_RDMA_ON_DEMAND);
	grant = grant_with((struct daxpin_grant_options)WRITING);
	assert_int_equal(counts().bounced, 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* The verdict of this trial is that the device fails. */
static void a_trial_with_a_verdict_is_not_repeated(void **state)
{
	(void)state;
	assert_int_equal(device.probes, 1);
	assert_int_equal(device.scratches, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_rdma_revoke(grant_with((
			struct daxpin_grant_options)WRITING)), 0);
	assert_int_equal(device.probes, 1);
	assert_int_equal(attach_again(0), -EOPNOTSUPP);
	assert_int_equal(attach_again(DAXPIN_RDMA_BOUNCE), 0);
}

static void attach_to_a_full_pool_makes_the_trial_on_a_file_beside_it(void **state)
{
	struct daxpin_extent all[64];
	unsigned int count = 0;

	(void)state;
	for (uint64_t size = 16 << 20; size >= 4096; size /= 2)
		while (!daxpin_reserve(f->pool, size, 0, &all[count]))
			assert_true(++count < 64);
	device.probes = 0;
	assert_int_equal(attach_again(DAXPIN_RDMA_BOUNCE), 0);
	assert_int_equal(device.scratches, 1);
	assert_int_equal(device.probes, 1);
	assert_int_equal(finding().verdict, DAXPIN_RDMA_WRONG);
	device.scratch_error = -EACCES;
	assert_int_equal(attach_again(0), 0);
	assert_int_equal(finding().verdict, DAXPIN_RDMA_UNKNOWN);
	assert_int_equal(grant_fails((struct daxpin_grant_options)WRITING),
			 -EACCES);
	while (count)
		assert_int_equal(daxpin_cancel(f->pool, all[--count]), 0);
}

int main(void)
{
#define TEST(name, how) \
	cmocka_unit_test_setup_teardown(name, how, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_bounced_write_grant_excludes_holds_grants_and_publishes,
		     setup_bounced),
		TEST(a_bounced_write_grant_is_refused_while_others_hold, setup_bounced),
		TEST(no_call_gets_past_a_bounced_write_grant, setup_bounced),
		TEST(a_set_is_published_after_its_grant_is_written_back, setup_bounced),
		TEST(a_zeroing_grant_is_refused_while_others_hold, setup_pinned),
		TEST(a_zeroing_grant_of_another_part_is_refused, setup_pinned),
		TEST(a_zeroing_grant_of_another_part_is_refused, setup_bounced),
		TEST(a_grant_of_a_part_covers_exactly_that_part, setup_pinned),
		TEST(a_grant_beyond_the_extent_is_refused, setup_pinned),
		TEST(a_bounced_grant_writes_back_only_its_part, setup_bounced),
		TEST(a_trial_on_a_link_that_is_down_is_repeated, setup_pinned),
		TEST(grants_are_no_longer_bounced_after_a_successful_trial,
		     setup_pinned),
		TEST(a_trial_with_a_verdict_is_not_repeated, setup_bounced),
		TEST(attach_to_a_full_pool_makes_the_trial_on_a_file_beside_it,
		     setup_bounced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
