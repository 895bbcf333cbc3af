/* SPDX-License-Identifier: BSD-3-Clause */
/* The RDMA adapter on a real verbs device, on device-dax and on shmem. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "child.h"
#include "nobody.h"
#include "rdma_fixture.h"
#include "verbs_hooks.h"

#define DENIED		IBV_WC_REM_ACCESS_ERR

/* ------------------------------------------------------- attach, detach */

static void a_pool_with_a_domain_does_not_close(void **state)
{
	struct fixture *f = *state;
	struct daxpin_rdma_info info = rdma_info(f);

	assert_int_equal(info.local_mrs | info.grants | info.quarantined, 0);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	assert_int_equal(attach(f), 0);
}

static void bad_options_are_refused(void **state)
{
	struct fixture *f = *state;
	struct {
		struct daxpin_rdma_options options;
		uint64_t newer;
	} big = { .options = { .size = sizeof(big) } };
	struct daxpin_rdma *rdma = NULL;

	assert_int_equal(daxpin_rdma_attach(f->pool, f->nic.pd, NULL, NULL),
			 -EINVAL);
	assert_int_equal(daxpin_rdma_attach(NULL, f->nic.pd, NULL, &rdma),
			 -EINVAL);
	big.options.flags = 0x80;
	assert_int_equal(daxpin_rdma_attach(f->pool, f->nic.pd, &big.options,
					    &rdma), -EINVAL);
	big.options.flags = 0;
	big.newer = 1;
	assert_int_equal(daxpin_rdma_attach(f->pool, f->nic.pd, &big.options,
					    &rdma), -E2BIG);
	assert_null(rdma);
	big.newer = 0;
	assert_int_equal(daxpin_rdma_attach(f->pool, f->nic.pd, &big.options,
					    &rdma), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(daxpin_rdma_detach(NULL), 0);
	assert_int_equal(daxpin_rdma_revoke(NULL), 0);
}

static void detach_waits_for_the_grants(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), -EBUSY);
	assert_int_equal(rdma_info(f).grants, 1);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
}

/* ----------------------------------------------------------- local keys */

static void each_segment_has_one_local_key(void **state)
{
	struct fixture *f = *state;
	uint32_t keys[64], key, count = 0, i;
	struct daxpin_segment segment = { 0 };
	uint64_t end = 0;

	while (count < 64 && !daxpin_segment(f->pool, count, &segment)) {
		end = segment.addr + segment.size;
		assert_int_equal(daxpin_rdma_lkey(f->rdma, segment.addr,
						  &keys[count]), 0);
		assert_int_equal(daxpin_rdma_lkey(f->rdma, end - 1, &key), 0);
		assert_int_equal(key, keys[count]);
		for (i = 0; i < count; i++)
			assert_int_not_equal(keys[i], keys[count]);
		count++;
	}
	assert_true(count > 1);
	assert_int_equal(rdma_info(f).local_mrs, count);
	key = 7;
	assert_int_equal(daxpin_rdma_lkey(f->rdma, end, &key), -ENOENT);
	assert_int_equal(daxpin_rdma_lkey(f->rdma, UINT64_MAX, &key), -ENOENT);
	assert_int_equal(key, 7);
}

/*
 * A request of this side: it reads from the peer's memory into the pool, with its local
 * key.
 */
static void a_local_key_can_be_the_target_of_a_read(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct ibv_mr local = { .addr = bytes(f, extent) };
	struct transfer read = {
		.opcode = IBV_WR_RDMA_READ,
		.mr = &local,
		.remote = (uintptr_t)f->buffer,
		.rkey = f->mr->rkey,
		.length = EXTENT_BYTES,
	};

	assert_int_equal(daxpin_rdma_lkey(f->rdma, extent.addr, &local.lkey), 0);
	pattern_fill(f->buffer, EXTENT_BYTES, PEER_PATTERN);
	memset(local.addr, 0, EXTENT_BYTES);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(wire_transfer(&f->wire, &read), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(pattern_wrong(local.addr, EXTENT_BYTES, PEER_PATTERN),
			 0);
}

static void a_local_key_gives_a_peer_no_access(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key forged = { .length = EXTENT_BYTES };

	forged.addr = (uintptr_t)bytes(f, extent);
	assert_int_equal(daxpin_rdma_lkey(f->rdma, extent.addr, &forged.rkey),
			 0);
	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(peer_write(f, &forged, 0, 4096), DENIED);
	assert_int_equal(peer_read(f, &forged, 4096), DENIED);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
}

/* --------------------------------------------------------------- grants */

static void a_peer_writes_and_reads_what_it_was_granted(void **state)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, READ | WRITE | ATOMIC, ZERO), 0);
	key = key_of(f, 0);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(key.length, EXTENT_BYTES);
	assert_int_equal(key.access, READ | WRITE | ATOMIC);
	assert_memory_equal(&key.extent, &extent, sizeof(extent));
	assert_memory_equal(key.uuid, info.uuid, sizeof(key.uuid));
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       PEER_PATTERN), 0);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), 0);
	assert_int_equal(pattern_wrong(f->buffer, EXTENT_BYTES, PEER_PATTERN),
			 0);
}

static void a_grant_is_exact_to_the_byte(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent before = reserve(f), extent = reserve(f);
	struct daxpin_extent after = reserve(f);
	struct daxpin_grant_key key;

	assert_int_equal(before.addr + EXTENT_BYTES, extent.addr);
	assert_int_equal(extent.addr + EXTENT_BYTES, after.addr);
	pattern_fill(bytes(f, before), EXTENT_BYTES, OLD_PATTERN);
	pattern_fill(bytes(f, after), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, EXTENT_BYTES - 1, 1), 0);
	assert_int_equal(peer_write(f, &key, EXTENT_BYTES - 1, 2), DENIED);
	assert_int_equal(peer_write(f, &key, EXTENT_BYTES, 1), DENIED);
	assert_int_equal(peer_write(f, &key, (uint64_t)-1, 1), DENIED);
	assert_int_equal(pattern_wrong(bytes(f, before), EXTENT_BYTES,
				       OLD_PATTERN), 0);
	assert_int_equal(pattern_wrong(bytes(f, after), EXTENT_BYTES,
				       OLD_PATTERN), 0);
}

static void a_grant_allows_only_its_access(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key reader, writer;

	assert_int_equal(grant(f, 0, extent, READ, ZERO), 0);
	assert_int_equal(grant(f, 1, extent, WRITE, 0), 0);
	reader = key_of(f, 0);
	writer = key_of(f, 1);
	assert_int_equal(peer_write(f, &reader, 0, 64), DENIED);
	assert_int_equal(peer_read(f, &writer, 64), DENIED);
	assert_int_equal(peer_write(f, &writer, 0, 64), 0);
	assert_int_equal(peer_read(f, &reader, 64), 0);
	assert_int_equal(pattern_wrong(f->buffer, 64, PEER_PATTERN), 0);
}

static void nothing_is_written_after_the_revoke(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, READ | WRITE, ZERO), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), DENIED);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), DENIED);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
}

static void see_label(const struct daxpin_holder *holder, void *arg)
{
	if (holder->extent.gen && !strcmp(holder->label, "test peer") &&
	    holder->access == (DAXPIN_HOLD_WRITE | DAXPIN_HOLD_GRANT))
		++*(unsigned int *)arg;
}

static void granted_blocks_are_not_reused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f), again;
	enum daxpin_state extent_state;
	unsigned int seen = 0;
	struct free_space free_space;

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(publish(f, extent, DAXPIN_OP_KEEP), 0);
	assert_int_equal(publish(f, extent, DAXPIN_OP_RETIRE), 0);
	assert_int_equal(daxpin_state(f->pool, extent, &extent_state), 0);
	assert_int_equal(extent_state, DAXPIN_STATE_RETIRED);
	assert_int_equal(daxpin_holds(f->pool, extent, see_label, &seen), 1);
	assert_int_equal(seen, 1);

	free_space_reserve(&free_space, f->pool);
	assert_int_equal(free_space_overlap(&free_space, extent.addr, EXTENT_BYTES), 0);
	assert_int_equal(daxpin_reserve(f->pool, EXTENT_BYTES, 0, &again),
			 -ENOSPC);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_reserve(f->pool, EXTENT_BYTES, 0, &again), 0);
	assert_int_equal(again.addr, extent.addr);
	assert_int_not_equal(again.gen, extent.gen);
	free_space_release(&free_space);
}

static void a_grant_for_reading_reserved_space_needs_a_flag(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(grant(f, 0, extent, READ, 0), -EPERM);
	assert_non_null(strstr(f->errmsg, "DAXPIN_GRANT_ZERO"));
	assert_int_equal(grant(f, 0, extent, WRITE | ATOMIC, 0), -EPERM);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(rdma_info(f).grants, 0);

	assert_int_equal(grant(f, 0, extent, READ, EXPOSE), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), 0);
	assert_int_equal(pattern_wrong(f->buffer, EXTENT_BYTES, OLD_PATTERN),
			 0);
	/* It is refused as long as the first peer has a grant. */
	assert_int_equal(grant(f, 1, extent, READ, ZERO), -EBUSY);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(grant(f, 1, extent, READ, ZERO), 0);
	key = key_of(f, 1);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), 0);
	assert_int_equal(f->buffer[0] | f->buffer[EXTENT_BYTES - 1], 0);
	assert_memory_equal(f->buffer, f->buffer + 1, EXTENT_BYTES - 1);
}

static void a_zeroing_grant_of_a_published_extent_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_equal(publish(f, extent, DAXPIN_OP_KEEP), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, ZERO), -EINVAL);
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
	assert_int_equal(grant(f, 0, extent, READ, 0), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(publish(f, extent, DAXPIN_OP_RETIRE), 0);
}

static void an_ended_extent_cannot_be_granted(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	assert_int_equal(publish(f, extent, DAXPIN_OP_KEEP), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, extent, DAXPIN_OP_RETIRE), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), -EALREADY);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), -ESTALE);
	assert_int_equal(rdma_info(f).grants, 0);
}

static void access_past_the_grant_is_refused(void **state)
{
	static const int refused[] = {
		0, IBV_ACCESS_LOCAL_WRITE, WRITE | IBV_ACCESS_MW_BIND,
		WRITE | IBV_ACCESS_ON_DEMAND, WRITE | IBV_ACCESS_ZERO_BASED,
	};
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	unsigned int i;
	int err;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(grant(f, 0, extent, refused[i], 0), -EINVAL);
		assert_true(strlen(f->errmsg) > 20);
	}
	assert_int_equal(grant(f, 0, extent, WRITE, 8), -EINVAL);
	/*
	 * Soft-RoCE does not support huge pages. A device that does may accept the
	 * flag.
	 */
	err = grant(f, 0, extent, WRITE | IBV_ACCESS_HUGETLB, 0);
	print_message("IBV_ACCESS_HUGETLB: %d %s\n", err, f->errmsg);
	assert_true(err == 0 || err == -EOPNOTSUPP || err == -EINVAL);
	assert_true(err == 0 || strstr(f->errmsg, rdma_device));
	assert_int_equal(daxpin_idle(f->pool, extent), err != 0);
}

/* ----------------------------------------------------- a device that fails */

static void a_refused_revoke_keeps_the_memory(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	verbs_hooks.refuse_dereg = EIO;
	assert_int_equal(take_back(f, 0), -EIO);
	assert_int_equal(take_back(f, 0), -EIO);
	verbs_hooks.refuse_dereg = 0;
	assert_int_equal(rdma_info(f).quarantined, 1);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), -EBUSY);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(rdma_info(f).quarantined, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

static void a_signal_does_not_spoil_a_registration(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	uint32_t key;

	verbs_hooks.interrupt_reg = 3;
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(verbs_hooks.interrupt_reg, 0);
	verbs_hooks.interrupt_reg = 3;
	assert_int_equal(daxpin_rdma_lkey(f->rdma, extent.addr, &key), 0);
	verbs_hooks.interrupt_reg = UINT32_MAX;
	assert_int_equal(grant(f, 1, extent, WRITE, 0), -EINTR);
	verbs_hooks.interrupt_reg = 0;
}

static void every_pin_is_released(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	long long before = pinned_pages(), with_grant;
	uint32_t key;

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	with_grant = pinned_pages();
	assert_true(with_grant > before);
	assert_int_equal(daxpin_rdma_lkey(f->rdma, 0, &key), 0);
	assert_true(pinned_pages() > with_grant);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	assert_int_equal(pinned_pages(), before);
}

/* ------------------------------------------------------------ other processes */

static int try_as_child(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.access = WRITE,
	};
	struct daxpin_extent extent = { 0, 0 };
	struct daxpin_grant *other;
	uint32_t key;

	return daxpin_rdma_lkey(f->rdma, 0, &key) != -EOWNERDEAD ||
	       daxpin_rdma_revoke(f->grants[0]) != -EOWNERDEAD ||
	       daxpin_rdma_grant(f->rdma, extent, &options, &other) !=
	       -EOWNERDEAD ||
	       daxpin_rdma_detach(f->rdma) != -EOWNERDEAD;
}

static void a_forked_child_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;
	uint32_t lkey;

	assert_int_equal(daxpin_rdma_lkey(f->rdma, 0, &lkey), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(run_child(try_as_child, f), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
}

#define SMALL_LIMIT	(64u << 10)

/* In a process of its own. The exit status is the number of the step that failed. */
static int live_on_little_memory(void *arg)
{
	const char *path = arg;
	struct fixture f = { .errmsg = "" };
	struct daxpin_extent extent, small;
	uint32_t key;

	if (!drop_privileges(NOBODY, SMALL_LIMIT))
		return 1;
	if (daxpin_pool_open(path, NULL, &f.pool))
		return 2;
	if (nic_open(&f.nic, rdma_device) || attach(&f))
		return 3;
	if (daxpin_rdma_lkey(f.rdma, 0, &key) != -ENOMEM)
		return 4;
	if (daxpin_reserve(f.pool, EXTENT_BYTES, 0, &extent) ||
	    grant(&f, 0, extent, WRITE, 0) != -ENOMEM)
		return 5;
	if (!strstr(f.errmsg, "RLIMIT_MEMLOCK is 64 KiB, and this process has"))
		return 6;
	if (daxpin_reserve(f.pool, 4096, 0, &small) ||
	    grant(&f, 0, small, WRITE, 0) || take_back(&f, 0))
		return 7;
	if (daxpin_idle(f.pool, extent) != 1 || daxpin_rdma_detach(f.rdma) ||
	    daxpin_pool_close(f.pool))
		return 8;
	return 0;
}

static void a_small_memlock_limit_is_reported(void **state)
{
	const struct place *place = *state;
	struct daxpin_pool *pool;
	struct stat before;
	char path[64];
	int status;

	if (geteuid() != 0) {
		print_message("# skipped: only root can become another user\n");
		skip();
	}
	assert_int_equal(make_pool(place, path, &pool), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(allow_nobody(path), 0);
	status = run_child(live_on_little_memory, path);
	assert_int_equal(chmod(path, before.st_mode & 07777), 0);
	if (!place->device)
		remove_tree(path);
	assert_int_equal(status, 0);
}

/* ------------------------------------------------------- other backings */

static void a_dax_file_system_is_refused(void **state)
{
	const char *fsdax = getenv("DAXPIN_TEST_FSDAX");
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.pool_size = UINT64_C(64) << 20,
		.segment_size = DAXPIN_SEGMENT_MIN,
	};
	struct fixture f = { .errmsg = "" };

	(void)state;
	if (!fsdax) {
		print_message("# skipped: DAXPIN_TEST_FSDAX names no directory\n");
		skip();
	}
	snprintf(f.path, sizeof(f.path), "%s/rdma-test-XXXXXX", fsdax);
	assert_non_null(mkdtemp(f.path));
	options.errmsg = f.errmsg;
	options.errmsg_size = sizeof(f.errmsg);
	assert_int_equal(daxpin_pool_create(f.path, &options, &f.pool), 0);
	assert_int_equal(nic_open(&f.nic, rdma_device), 0);
	assert_int_equal(attach(&f), -EOPNOTSUPP);
	assert_non_null(strstr(f.errmsg, "DAX filesystem"));
	assert_int_equal(nic_close(&f.nic), 0);
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	remove_tree(f.path);
}

/* ------------------------------------------------------------------ main */

#define CASE(function)	{ #function, function, setup, teardown, NULL }

static const struct CMUnitTest cases[] = {
	CASE(a_pool_with_a_domain_does_not_close),
	CASE(bad_options_are_refused),
	CASE(detach_waits_for_the_grants),
	CASE(each_segment_has_one_local_key),
	CASE(a_local_key_can_be_the_target_of_a_read),
	CASE(a_local_key_gives_a_peer_no_access),
	CASE(a_peer_writes_and_reads_what_it_was_granted),
	CASE(a_grant_is_exact_to_the_byte),
	CASE(a_grant_allows_only_its_access),
	CASE(nothing_is_written_after_the_revoke),
	CASE(granted_blocks_are_not_reused),
	CASE(a_grant_for_reading_reserved_space_needs_a_flag),
	CASE(a_zeroing_grant_of_a_published_extent_is_refused),
	CASE(an_ended_extent_cannot_be_granted),
	CASE(access_past_the_grant_is_refused),
	CASE(a_refused_revoke_keeps_the_memory),
	CASE(a_signal_does_not_spoil_a_registration),
	CASE(every_pin_is_released),
	CASE(a_forked_child_changes_nothing),
	{ "a_small_memlock_limit_is_reported", a_small_memlock_limit_is_reported,
	  NULL, NULL, NULL },
};

#define CASES		(sizeof(cases) / sizeof(cases[0]))

static struct place places[] = {
	{ .name = "shmem" },
	{ .name = "device-dax" },		/* if there is one */
};

/* Lists each test for each place, and once the one that needs no place. */
static size_t list_tests(struct CMUnitTest tests[2 * CASES + 1],
			 char names[2 * CASES][96], size_t place_count)
{
	size_t count = 0, place, i;

	for (place = 0; place < place_count; place++)
		for (i = 0; i < CASES; i++) {
			tests[count] = cases[i];
			tests[count].initial_state = &places[place];
			snprintf(names[count], 96, "%s: %s", places[place].name,
				 cases[i].name);
			tests[count].name = names[count];
			count++;
		}
	tests[count++] = (struct CMUnitTest)
		cmocka_unit_test(a_dax_file_system_is_refused);
	return count;
}

int main(void)
{
	static struct CMUnitTest tests[2 * CASES + 1];
	static char names[2 * CASES][96];
	size_t count;

	if (!rdma_find_device())
		return 77;
	places[1].device = getenv("DAXPIN_TEST_DAX");
	count = list_tests(tests, names, places[1].device ? 2 : 1);
	return _cmocka_run_group_tests("rdma", tests, count, NULL, NULL);
}
