/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants on the DAX filesystem that DAXPIN_TEST_FSDAX names. This file is built twice.
 * In the ordinary build the trial finds that soft-RoCE's on-demand regions corrupt
 * data, so grants are copies. With TRUSTING, and without rdma/trust.c, the on-demand
 * regions are used; the tests then write only what works, single packets at the start
 * of a page.
 */
#include "rdma_fixture.h"
#include "segment_files.h"
#include "verbs_hooks.h"

#define DENIED		IBV_WC_REM_ACCESS_ERR
#define PAGE		UINT64_C(4096)
#define SEGMENTS	4

#ifdef TRUSTING
#include "rdma/trust.h"

bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding)
{
	return finding->verdict == DAXPIN_RDMA_WORKS ||
	       finding->verdict == DAXPIN_RDMA_WRONG;
}
#endif

static struct place place = { .name = "fsdax" };

static int setup_here(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (!f || make_pool(&place, f->path, &f->pool))
		return -1;
	f->flags = DAXPIN_RDMA_BOUNCE;
	return make_peer(f) ? -1 : attach(f);
}

static struct daxpin_rdma_report report_of(struct fixture *f)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };

	assert_int_equal(daxpin_rdma_report(f->rdma, &report), 0);
	return report;
}

/* --------------------------------------------------------------- punching */

static struct daxpin_job_summary reclaim(struct fixture *f)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job_options options = {
		.size = sizeof(options),
		.segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = daxpin_deadline_ms(100),
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(600000)), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	return summary;
}

static uint64_t hole_bytes(struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return info.hole_bytes;
}

/* The bytes that the pool's files take on the filesystem. */
static uint64_t bytes_of(struct fixture *f)
{
	uint64_t bytes;

	assert_int_equal(segment_files(f->path, &bytes), SEGMENTS);
	return bytes;
}

static void a_granted_extent_is_not_punched(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;
	uint64_t bytes, holes;

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, PAGE), 0);
	assert_int_equal(reclaim(f).result, -EBUSY);
	holes = hole_bytes(f);
	assert_true(holes < (SEGMENTS - 1) * (uint64_t)DAXPIN_SEGMENT_MIN);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(reclaim(f).result, 0);
	assert_true(hole_bytes(f) > holes);
	/* The old key does not allocate the blocks again (rdma.md R15). */
	bytes = bytes_of(f);
	assert_int_equal(peer_write(f, &key, 0, PAGE), DENIED);
	assert_int_equal(bytes_of(f), bytes);
}

static void local_keys_are_refused(void **state)
{
	struct fixture *f = *state;
	uint32_t key = 7;

	/* The device is not called. */
	assert_true(verbs_hooks.registrations > 0);
	verbs_hooks.registrations = 0;
	assert_int_equal(daxpin_rdma_lkey(f->rdma, 0, &key), -EOPNOTSUPP);
	assert_int_equal(verbs_hooks.registrations, 0);
	assert_int_equal(key, 7);
	assert_int_equal(rdma_info(f).local_mrs, 0);
}

static void every_pin_is_released(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	long long before = pinned_pages();
	bool bounced = rdma_info(f).mode == DAXPIN_RDMA_BOUNCED;

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	/* A bounce buffer is pinned; on-demand pages are not. */
	assert_int_equal(pinned_pages() > before, bounced);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(pinned_pages(), before);
	assert_int_equal(rdma_info(f).bounced, 0);
}

#ifndef TRUSTING
/* ---------------------------------------------------------------- the choice */

static void without_the_bounce_flag_the_attach_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	f->flags = 0;
	assert_int_equal(attach(f), -EOPNOTSUPP);
	assert_non_null(strstr(f->errmsg, "DAXPIN_RDMA_BOUNCE"));
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(daxpin_pool_open(f->path, NULL, &f->pool), 0);
}

static void the_report_explains_the_choice(void **state)
{
	struct fixture *f = *state;
	struct daxpin_rdma_report report = report_of(f);
	const char *kernel = getenv("DAXPIN_TEST_KERNEL");

	print_message("on-demand regions: %s\n", report.odp.what);
	assert_int_equal(rdma_info(f).mode, DAXPIN_RDMA_BOUNCED);
	assert_int_equal(report.window2.verdict, DAXPIN_RDMA_UNTRIED);
	if (!strncmp(rdma_device, "rxe", 3) && kernel)
		assert_int_equal(report.odp.verdict,
				 strcmp(kernel, "legacy") ? DAXPIN_RDMA_WRONG :
				 DAXPIN_RDMA_NONE);
	assert_int_not_equal(report.odp.verdict, DAXPIN_RDMA_WORKS);
}

/* The trial uses a file beside the pool, so the finding is the same. */
static void the_trial_works_in_a_full_pool(void **state)
{
	struct fixture *f = *state;
	uint32_t verdict = report_of(f).odp.verdict;
	struct free_space free_space;

	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	free_space_reserve(&free_space, f->pool);
	assert_int_equal(attach(f), 0);
	print_message("in a full pool: %s\n", report_of(f).odp.what);
	assert_int_equal(report_of(f).odp.verdict, verdict);
	assert_int_equal(rdma_info(f).mode, DAXPIN_RDMA_BOUNCED);
	free_space_release(&free_space);
}

/* ------------------------------------------------------------------- bounced */

static void a_peers_writes_are_copied_back_by_the_revoke(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	key = key_of(f, 0);
	assert_int_equal(key.access, WRITE | DAXPIN_KEY_BOUNCED);
	assert_ptr_not_equal((void *)(uintptr_t)key.addr, bytes(f, extent));
	assert_int_equal(rdma_info(f).bounced, 1);
	assert_int_equal(rdma_info(f).bounced_bytes, EXTENT_BYTES);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES / 2 - 77), 0);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES / 2 - 77,
				       PEER_PATTERN), 0);
	/* The bytes that it did not write are unchanged. */
	pattern_fill(f->buffer, EXTENT_BYTES, OLD_PATTERN);
	assert_memory_equal(bytes(f, extent) + EXTENT_BYTES / 2 - 77,
			    f->buffer + EXTENT_BYTES / 2 - 77,
			    EXTENT_BYTES / 2 + 77);
	assert_int_equal(rdma_info(f).bounced_bytes, 0);
	assert_int_equal(rdma_info(f).bounce_errors, 0);
	assert_int_equal(peer_write(f, &key, 0, 64), DENIED);
}

static void a_reader_gets_a_copy(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(publish(f, extent, DAXPIN_OP_KEEP), 0);
	assert_int_equal(grant(f, 0, extent, READ, 0), 0);
	key = key_of(f, 0);
	pattern_fill(bytes(f, extent), EXTENT_BYTES, PEER_PATTERN);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), 0);
	assert_int_equal(pattern_wrong(f->buffer, EXTENT_BYTES, OLD_PATTERN),
			 0);
	assert_int_equal(take_back(f, 0), 0);
	/* It could not write, so nothing was copied back. */
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}

static void a_bounced_write_grant_excludes_others(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), -EBUSY);
	assert_non_null(strstr(f->errmsg, "is held or being published"));
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(grant(f, 1, extent, WRITE | ATOMIC, EXPOSE), -EBUSY);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EBUSY);
	assert_int_equal(rdma_info(f).bounced, 1);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(grant(f, 1, extent, READ | WRITE, EXPOSE), 0);
}

static void nothing_is_copied_back_before_the_device_ended_the_region(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	allow_write(f, 0, extent);
	verbs_hooks.refuse_dereg = EIO;
	assert_int_equal(take_back(f, 0), -EIO);
	verbs_hooks.refuse_dereg = 0;
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
	assert_int_equal(rdma_info(f).bounced, 1);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}

static void published_bytes_of_a_peer_survive_a_reopen(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	allow_write(f, 0, extent);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(publish(f, extent, DAXPIN_OP_KEEP), 0);
	reopen(f);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}
#else
/* ----------------------------------------------------------------- on demand */

static void a_peer_writes_to_the_file_through_an_on_demand_region(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_rdma_info info;
	struct daxpin_grant_key key;

	info = rdma_info(f);
	assert_int_equal(info.mode, DAXPIN_RDMA_ON_DEMAND);
	print_message("believed: %s\n", report_of(f).odp.what);
	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(grant(f, 0, extent, READ | WRITE, EXPOSE), 0);
	key = key_of(f, 0);
	assert_int_equal(key.access, READ | WRITE);
	assert_ptr_equal((void *)(uintptr_t)key.addr, bytes(f, extent));
	pattern_fill(f->buffer, PEER_BYTES, PEER_PATTERN);
	for (uint64_t at = 0; at < EXTENT_BYTES; at += PAGE) {
		assert_int_equal(peer_write(f, &key, at, PAGE), 0);
		assert_memory_equal(bytes(f, extent) + at, f->buffer, PAGE);
	}
	assert_int_equal(rdma_info(f).bounced, 0);
	info = rdma_info(f);
	print_message("prefetched %d, refused %d\n", (int)info.prefetched,
		      (int)info.prefetch_refused);
	assert_int_equal(info.prefetched + info.prefetch_refused, 1);
	assert_int_equal(take_back(f, 0), 0);
	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(peer_write(f, &key, 0, PAGE), DENIED);
	assert_int_equal(bytes(f, extent)[0], 0);
}
#endif

#define CASE(function)	\
	cmocka_unit_test_setup_teardown(function, setup_here, teardown)

static const struct CMUnitTest cases[] = {
#ifndef TRUSTING
	CASE(without_the_bounce_flag_the_attach_is_refused),
	CASE(the_report_explains_the_choice),
	CASE(the_trial_works_in_a_full_pool),
	CASE(a_peers_writes_are_copied_back_by_the_revoke),
	CASE(a_reader_gets_a_copy),
	CASE(a_bounced_write_grant_excludes_others),
	CASE(nothing_is_copied_back_before_the_device_ended_the_region),
	CASE(published_bytes_of_a_peer_survive_a_reopen),
#else
	CASE(a_peer_writes_to_the_file_through_an_on_demand_region),
#endif
	CASE(local_keys_are_refused),
	CASE(every_pin_is_released),
	CASE(a_granted_extent_is_not_punched),
};

#ifdef TRUSTING
/* Is there an on-demand region to use? */
static bool has_on_demand(void)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };
	void *memory = aligned_alloc(PAGE, DAXPIN_RDMA_TRY_BYTES);
	struct nic nic;

	if (nic_open(&nic, rdma_device))
		return false;
	if (daxpin_rdma_probe(nic.pd, memory, DAXPIN_RDMA_TRY_BYTES,
			      DAXPIN_RDMA_TRY_ODP, &report))
		report.odp.verdict = DAXPIN_RDMA_UNKNOWN;
	nic_close(&nic);
	free(memory);
	return dp_rdma_trusts(&report.odp);
}
#else
static bool has_on_demand(void)
{
	return true;			/* otherwise the trial decides */
}
#endif

int main(void)
{
	rdma_device = getenv("DAXPIN_TEST_RDMA");
	place.directory = getenv("DAXPIN_TEST_FSDAX");
	if (!rdma_device || !place.directory) {
		printf("# skipped: DAXPIN_TEST_RDMA and DAXPIN_TEST_FSDAX are not both set: run it in the lab (./dev lab)\n");
		return 77;
	}
	if (!has_on_demand()) {
		printf("# skipped: %s has no on-demand regions here\n",
		       rdma_device);
		return 77;
	}
	return cmocka_run_group_tests_name("rdma fsdax", cases, NULL, NULL);
}
