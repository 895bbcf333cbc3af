/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ofi_local PROVIDER: requests out of a pool and into it, between two endpoints of this
 * process. The test makes the progress, so a request ends when the test decides.
 */
#include <pthread.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdbool.h>
#include <sys/wait.h>
#include "fixture.h"
#include "needs.h"
#include "ofi/endpoint.h"
#include "ofi/trial.h"
#include "ofi_peer.h"

#define BYTES		(1u << 20)
#define KEY		7
#define LIMIT_MS	300000		/* only ends what hangs */
#define PAIRS		2
#define ROUNDS		100		/* of each thread */

static int region_error, error_count;	/* the next closes of a region fail */

int __real_dp_region_close(struct fid_mr *region);
int __wrap_dp_region_close(struct fid_mr *region);

int __wrap_dp_region_close(struct fid_mr *region)
{
	if (!error_count)
		return __real_dp_region_close(region);
	error_count--;
	return region_error;
}

/* As if an RDMA device stored the bytes, and the trial had this verdict. */
static bool is_rdma;
static uint32_t verdict;
static unsigned int trials;

int __real_dp_trial_check_writer(const struct fi_info *i, struct fid_fabric *f,
				 struct daxpin_ofi_report *report,
				 const struct dp_errmsg *errmsg);
int __wrap_dp_trial_check_writer(const struct fi_info *i, struct fid_fabric *f,
				 struct daxpin_ofi_report *report,
				 const struct dp_errmsg *errmsg);
int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept);

int __wrap_dp_trial_check_writer(const struct fi_info *i, struct fid_fabric *f,
				 struct daxpin_ofi_report *report,
				 const struct dp_errmsg *errmsg)
{
	if (!is_rdma)
		return __real_dp_trial_check_writer(i, f, report, errmsg);
	report->writer = DAXPIN_OFI_WRITER_RDMA;
	return 0;
}

int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept)
{
	assert_true(f && i && memory && errmsg && !*ret_kept);
	assert_true(length >= DP_TRIAL_BYTES_MIN);
	trials++;
	report->ends = verdict;
	snprintf(report->what, sizeof(report->what), "the test's verdict");
	return 0;
}

/* -------------------------------------------------------------- two endpoints */

/* `near` is the program's endpoint of local operations, `far` its peer. */
struct pair {
	struct dp_endpoint near, far;
	fi_addr_t near_to_far, far_to_near;
	struct fid_mr *target;
	struct fi_context2 contexts[2];
};

static fi_addr_t introduce(struct dp_endpoint *to, struct dp_endpoint *about)
{
	size_t size = 256;
	char name[256];
	fi_addr_t addr;

	assert_int_equal(fi_getname(&about->ep->fid, name, &size), 0);
	assert_int_equal(fi_av_insert(to->av, name, 1, &addr, 0, NULL), 1);
	return addr;
}

/* What the queue of an endpoint has: the context of a completion, and its error. */
static void *step(struct dp_endpoint *endpoint, int *ret_error)
{
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;
	ssize_t count = fi_cq_read(endpoint->cq, &entry, 1);

	*ret_error = 0;
	if (count == 1)
		return entry.op_context;
	if (count != -FI_EAVAIL)
		return NULL;
	assert_int_equal(fi_cq_readerr(endpoint->cq, &error, 0), 1);
	*ret_error = error.err;
	return error.op_context;
}

/* Make progress until these two requests of near and far have ended; NULL: none.
 * Returns the error of near's. */
static int await(struct pair *pair, void *near, void *far)
{
	uint64_t deadline = daxpin_deadline_ms(LIMIT_MS);
	int error, result = 0;
	void *context;

	while (near || far) {
		assert_true(daxpin_deadline_ms(0) < deadline);
		context = step(&pair->near, &error);
		assert_true(!context || context == near);
		if (context) {
			near = NULL;
			result = error;
		}
		context = step(&pair->far, &error);
		assert_true(!context || context == far);
		if (context) {
			far = NULL;
			assert_int_equal(error, 0);
		}
	}
	return result;
}

#define POST(pair, call) \
	do { \
		ssize_t post_ret; \
		int post_error; \
		while ((post_ret = (call)) == -FI_EAGAIN) { \
			assert_null(step(&(pair)->near, &post_error)); \
			assert_null(step(&(pair)->far, &post_error)); \
		} \
		assert_int_equal(post_ret, 0); \
	} while (0)

/* The first message connects them. */
static void greet(struct pair *pair)
{
	char out = 1, in = 0;

	POST(pair, fi_recv(pair->far.ep, &in, 1, NULL, FI_ADDR_UNSPEC,
			   &pair->contexts[0]));
	POST(pair, fi_send(pair->near.ep, &out, 1, NULL, pair->near_to_far,
			   &pair->contexts[1]));
	assert_int_equal(await(pair, &pair->contexts[1], &pair->contexts[0]), 0);
	assert_int_equal(in, 1);
}

/* target: memory that near can write and read. */
static void open_pair(struct pair *pair, void *target)
{
	*pair = (struct pair){ 0 };
	assert_int_equal(dp_endpoint_open(&pair->near, fabric, info, NULL), 0);
	assert_int_equal(dp_endpoint_open(&pair->far, fabric, info, NULL), 0);
	pair->near_to_far = introduce(&pair->near, &pair->far);
	pair->far_to_near = introduce(&pair->far, &pair->near);
	if (target)
		assert_int_equal(dp_region_open(&pair->far, info, target, BYTES,
						FI_REMOTE_WRITE | FI_REMOTE_READ,
						KEY, &pair->target), 0);
	greet(pair);
}

static void close_pair(struct pair *pair)
{
	if (pair->target)
		assert_int_equal(__real_dp_region_close(pair->target), 0);
	assert_int_equal(dp_endpoint_close(&pair->near), 0);
	assert_int_equal(dp_endpoint_close(&pair->far), 0);
}

/* ----------------------------------------------------------------------- local */

static struct daxpin_ofi_local *open_local(struct fixture *f, struct pair *pair,
					   bool with_regions)
{
	const struct daxpin_ofi_local_options options = {
		.size = sizeof(options), .label = "test",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct fi_info *about = fi_dupinfo(info);
	struct daxpin_ofi_local *local = NULL;

	if (with_regions) {
		about->domain_attr->mr_mode |= FI_MR_LOCAL;
		about->domain_attr->mr_mode &= ~FI_MR_ENDPOINT;
	}
	if (daxpin_ofi_local_open(f->pool, pair->near.domain, about, &options,
				  &local))
		fail_msg("%s", f->errmsg);
	fi_freeinfo(about);
	return local;
}

static struct daxpin_ofi_local_info figures(struct daxpin_ofi_local *local)
{
	struct daxpin_ofi_local_info about = { .size = sizeof(about) };

	assert_int_equal(daxpin_ofi_local_info(local, &about), 0);
	return about;
}

static uint64_t count(const unsigned char *memory, unsigned char value)
{
	uint64_t found = 0;

	for (size_t i = 0; i < BYTES; i++)
		found += memory[i] == value;
	return found;
}

/* Its completion follows the delivery, so that it fails if the far side refuses. */
static void post_write(struct pair *pair, struct daxpin_ofi_io *io, uint64_t key)
{
	struct iovec iov = { io->memory, BYTES };
	struct fi_rma_iov remote = { 0, BYTES, key };
	const struct fi_msg_rma message = {
		.msg_iov = &iov, .iov_count = 1, .desc = &io->desc,
		.rma_iov = &remote, .rma_iov_count = 1,
		.addr = pair->near_to_far, .context = io,
	};

	POST(pair, fi_writemsg(pair->near.ep, &message,
			       FI_COMPLETION | FI_DELIVERY_COMPLETE));
}

/* Requests of all kinds, with a pool's extent on both sides. */
static void transfer(struct fixture *f, bool with_regions)
{
	struct daxpin_extent mine = reserve(f, BYTES), other = reserve(f, BYTES);
	unsigned char *source = daxpin_ptr(f->pool, mine, 0);
	unsigned char *target = daxpin_ptr(f->pool, other, 0);
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct pair pair;

	open_pair(&pair, target);
	local = open_local(f, &pair, with_regions);
	for (int kind = 0; kind < 4; kind++) {
		const bool is_in = kind % 2;
		unsigned char *from = is_in ? target : source;

		memset(source, 0, BYTES);
		memset(target, 0, BYTES);
		memset(from, 0x11 + kind, BYTES);
		assert_int_equal(daxpin_ofi_prep(local, &io, mine, 0, BYTES,
						 is_in ? DAXPIN_HOLD_WRITE :
							 DAXPIN_HOLD_READ), 0);
		assert_ptr_equal(io.memory, source);
		assert_int_equal(io.desc != NULL, with_regions);
		if (kind == 0)
			post_write(&pair, &io, KEY);
		if (kind == 1)
			POST(&pair, fi_read(pair.near.ep, io.memory, BYTES, io.desc,
					    pair.near_to_far, 0, KEY, &io));
		if (kind == 2) {
			POST(&pair, fi_recv(pair.far.ep, target, BYTES, NULL,
					    FI_ADDR_UNSPEC, &pair.contexts[0]));
			POST(&pair, fi_send(pair.near.ep, io.memory, BYTES, io.desc,
					    pair.near_to_far, &io));
		}
		if (kind == 3) {
			POST(&pair, fi_recv(pair.near.ep, io.memory, BYTES, io.desc,
					    FI_ADDR_UNSPEC, &io));
			POST(&pair, fi_send(pair.far.ep, target, BYTES, NULL,
					    pair.far_to_near, &pair.contexts[0]));
		}
		assert_int_equal(await(&pair, &io, kind < 2 ? NULL :
				       &pair.contexts[0]), 0);
		assert_int_equal(daxpin_idle(f->pool, mine), 0);
		assert_int_equal(figures(local).in_flight, 1);
		assert_int_equal(figures(local).regions, with_regions);
		assert_int_equal(daxpin_ofi_done(&io), 0);
		assert_int_equal(daxpin_idle(f->pool, mine), 1);
		assert_int_equal(figures(local).in_flight, 0);
		assert_int_equal(count(is_in ? source : target, 0x11 + kind), BYTES);
	}
	assert_int_equal(figures(local).prepared, 4);
	assert_int_equal(figures(local).regions, 0);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, mine), 0);
	assert_int_equal(daxpin_cancel(f->pool, other), 0);
}

/* ------------------------------------------------------------------ the tests */

static void a_request_of_each_kind_holds_its_extent_until_done(void **state)
{
	SKIP_WITHOUT_PROVIDER();
	transfer(*state, false);
	transfer(*state, true);
}

static bool overlaps(struct daxpin_extent a, struct daxpin_extent b)
{
	return a.addr < b.addr + BYTES && b.addr < a.addr + BYTES;
}

/* Reserve all space; is the block of `extent` in it? All of it is free again then. */
static bool is_reusable(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_extent taken[64];
	bool found = false;
	size_t count = 0;

	while (!daxpin_reserve(f->pool, BYTES, 0, &taken[count])) {
		found |= overlaps(taken[count], extent);
		assert_true(++count < sizeof(taken) / sizeof(taken[0]));
	}
	while (count)
		assert_int_equal(daxpin_cancel(f->pool, taken[--count]), 0);
	return found;
}

static void retired_blocks_are_reused_after_the_error_entry(void **state)
{
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	extent = live(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, BYTES,
					 DAXPIN_HOLD_WRITE), 0);
	POST(&pair, fi_recv(pair.near.ep, io.memory, BYTES, io.desc, FI_ADDR_UNSPEC,
			    &io));
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_false(is_reusable(f, extent));
	assert_int_equal(daxpin_ofi_local_close(local), -EBUSY);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(fi_cancel(&pair.near.ep->fid, &io), 0);
	assert_int_equal(await(&pair, &io, NULL), FI_ECANCELED);
	assert_false(is_reusable(f, extent));
	assert_int_equal(daxpin_ofi_done(&io), 0);
	assert_true(is_reusable(f, extent));
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
}

static void a_request_that_the_peer_refuses_ends_with_its_error_entry(void **state)
{
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	if (!strcmp(provider, "shm")) {
		print_message("skipped: a request with a wrong key has neither a completion nor an error entry on shm (libfabric 1.17)\n");
		skip();
	}
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, BYTES,
					 DAXPIN_HOLD_READ), 0);
	post_write(&pair, &io, KEY + 1);
	assert_int_not_equal(await(&pair, &io, NULL), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_done(&io), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void a_request_that_was_not_posted_is_aborted(void **state)
{
	struct daxpin_ofi_local *local;
	struct daxpin_ofi_io *ios;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	size_t posted = 0, most = 100000;
	struct pair pair;
	ssize_t ret = 0;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	ios = calloc(most, sizeof(*ios));
	open_pair(&pair, daxpin_ptr(f->pool, extent, 0));
	local = open_local(f, &pair, true);
	/* Until the provider's queue is full. */
	while (!ret) {
		assert_true(posted < most);
		assert_int_equal(daxpin_ofi_prep(local, &ios[posted], extent, 0, 4096,
						 DAXPIN_HOLD_WRITE), 0);
		ret = fi_read(pair.near.ep, ios[posted].memory, 4096,
			      ios[posted].desc, pair.near_to_far, 0, KEY,
			      &ios[posted]);
		posted += !ret;
	}
	assert_int_equal(ret, -FI_EAGAIN);
	assert_int_equal(figures(local).in_flight, posted + 1);
	assert_int_equal(daxpin_ofi_abort(&ios[posted]), 0);
	assert_int_equal(daxpin_ofi_abort(&ios[posted]), -EINVAL);
	assert_int_equal(figures(local).in_flight, posted);
	for (size_t ended = 0; ended < posted;) {
		int error;
		struct daxpin_ofi_io *io = step(&pair.near, &error);

		assert_null(step(&pair.far, &error));
		if (!io)
			continue;
		assert_int_equal(daxpin_ofi_done(io), 0);
		ended++;
	}
	print_message("%s: %zu requests, then the queue was full\n", provider, posted);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	free(ios);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void a_hold_is_dropped_once(void **state)
{
	struct daxpin_ofi_io io = { 0 }, copy;
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_ofi_done(NULL), -EINVAL);
	assert_int_equal(daxpin_ofi_done(&io), -EINVAL);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1,
					 DAXPIN_HOLD_READ), 0);
	copy = io;
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1,
					 DAXPIN_HOLD_READ), -EINVAL);
	assert_int_equal(daxpin_ofi_done(&copy), -EINVAL);
	assert_int_equal(figures(local).in_flight, 1);
	assert_int_equal(daxpin_ofi_done(&io), 0);
	assert_int_equal(daxpin_ofi_done(&io), -EINVAL);
	assert_int_equal(daxpin_ofi_done(&copy), -EINVAL);
	/* The test itself still holds it, and an excess drop is reported. */
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1,
					 DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_done(&io), -EINVAL);
	assert_int_equal(figures(local).in_flight, 0);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	assert_int_equal(daxpin_ofi_done(&copy), -ESTALE);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void a_request_outside_of_an_extent_is_refused(void **state)
{
	const struct {
		uint64_t offset, length;
		uint32_t access;
	} bad[] = {
		{ 0, 0, DAXPIN_HOLD_READ }, { 0, BYTES + 1, DAXPIN_HOLD_READ },
		{ 1, BYTES, DAXPIN_HOLD_READ }, { BYTES, 1, DAXPIN_HOLD_READ },
		{ UINT64_MAX, 2, DAXPIN_HOLD_READ },
		{ 2, UINT64_MAX, DAXPIN_HOLD_READ },
		{ 0, 1, 0 }, { 0, 1, DAXPIN_HOLD_READ | DAXPIN_HOLD_GRANT },
		{ 0, 1, DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE },
	};
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(daxpin_ofi_prep(local, &io, extent,
						 bad[i].offset, bad[i].length,
						 bad[i].access), -EINVAL);
	assert_int_equal(daxpin_ofi_prep(NULL, &io, extent, 0, 1, DAXPIN_HOLD_READ),
			 -EINVAL);
	assert_int_equal(daxpin_ofi_prep(local, NULL, extent, 0, 1, DAXPIN_HOLD_READ),
			 -EINVAL);
	assert_int_equal(figures(local).in_flight, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, BYTES - 1, 1,
					 DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_ofi_abort(&io), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1, DAXPIN_HOLD_READ),
			 -ESTALE);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1, DAXPIN_HOLD_READ),
			 -ESTALE);
	assert_int_equal(daxpin_ofi_local_close(local), -ESTALE);
	assert_int_equal(daxpin_ofi_local_close(NULL), 0);
	close_pair(&pair);
}

static void a_region_that_stays_open_keeps_the_hold(void **state)
{
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, true);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, BYTES,
					 DAXPIN_HOLD_WRITE), 0);
	region_error = -EIO;
	error_count = 1;
	assert_int_equal(daxpin_ofi_done(&io), -EIO);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(figures(local).in_flight, 1);
	assert_int_equal(figures(local).regions, 1);
	assert_int_equal(figures(local).refusals, 1);
	assert_int_equal(daxpin_ofi_local_close(local), -EBUSY);
	/* One that passes by itself is not reported. */
	region_error = -EBUSY;
	error_count = 2;
	assert_int_equal(daxpin_ofi_done(&io), 0);
	assert_int_equal(error_count, 0);
	assert_int_equal(figures(local).refusals, 1);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void requests_of_two_pools_on_one_domain_are_kept_apart(void **state)
{
	struct daxpin_ofi_io io[2];
	struct daxpin_ofi_local *local[2];
	struct daxpin_extent extents[2];
	struct fixture *f[2];
	void *other;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	f[0] = *state;
	memset(io, 0, sizeof(io));
	assert_int_equal(fixture_setup(&other), 0);
	f[1] = other;
	open_pair(&pair, NULL);
	for (int i = 0; i < 2; i++) {
		extents[i] = reserve(f[i], BYTES);
		local[i] = open_local(f[i], &pair, true);
		assert_int_equal(daxpin_ofi_prep(local[i], &io[i], extents[i], 0,
						 BYTES, DAXPIN_HOLD_WRITE), 0);
	}
	assert_ptr_equal(io[1].memory, daxpin_ptr(f[1]->pool, extents[1], 0));
	assert_int_equal(daxpin_ofi_abort(&io[0]), 0);
	assert_int_equal(daxpin_idle(f[0]->pool, extents[0]), 1);
	assert_int_equal(daxpin_idle(f[1]->pool, extents[1]), 0);
	assert_int_equal(daxpin_ofi_local_close(local[0]), 0);
	assert_int_equal(daxpin_ofi_local_close(local[1]), -EBUSY);
	assert_int_equal(daxpin_ofi_abort(&io[1]), 0);
	assert_int_equal(daxpin_ofi_local_close(local[1]), 0);
	close_pair(&pair);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_cancel(f[i]->pool, extents[i]), 0);
	assert_int_equal(fixture_teardown(&other), 0);
}

static void find_label(const struct daxpin_holder *holder, void *arg)
{
	if (holder->label && holder->extent.gen)	/* no registration */
		snprintf(arg, DAXPIN_LABEL_MAX, "%s", holder->label);
}

static void a_hold_shows_the_direction_of_its_request(void **state)
{
	char label[DAXPIN_LABEL_MAX] = "";
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	for (int in = 0; in < 2; in++) {
		assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, 1,
						 in ? DAXPIN_HOLD_WRITE :
						      DAXPIN_HOLD_READ), 0);
		assert_int_equal(daxpin_holds(f->pool, extent, find_label, label), 1);
		assert_string_equal(label, in ? "in, test" : "out, test");
		assert_int_equal(daxpin_ofi_abort(&io), 0);
	}
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* A domain that is prepared pins no segment, even if it had regions in each of them. */
static void a_reclaim_waits_for_holds_only(void **state)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
	};
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_job *job;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	need_io_uring();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, true);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, BYTES,
					 DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_ofi_abort(&io), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	options.deadline_ns = daxpin_deadline_ms(LIMIT_MS);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, options.deadline_ns), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(summary.result, 0);
	assert_int_equal(pool_info(f).free_bytes, 0);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
}

static int use_in_child(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io,
			struct daxpin_extent extent)
{
	struct daxpin_ofi_local_info about = { .size = sizeof(about) };
	struct daxpin_ofi_io other = { 0 };

	return daxpin_ofi_done(io) == -EOWNERDEAD &&
	       daxpin_ofi_abort(io) == -EOWNERDEAD &&
	       daxpin_ofi_prep(local, &other, extent, 0, 1, DAXPIN_HOLD_READ) ==
		       -EOWNERDEAD &&
	       daxpin_ofi_local_info(local, &about) == -EOWNERDEAD &&
	       daxpin_ofi_local_close(local) == -EOWNERDEAD ? 0 : 1;
}

static void in_a_child_of_fork_every_call_is_refused(void **state)
{
	struct daxpin_ofi_io io = { 0 };
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct pair pair;
	int status;
	pid_t pid;

	SKIP_WITHOUT_PROVIDER();
	extent = reserve(f, BYTES);
	open_pair(&pair, NULL);
	local = open_local(f, &pair, false);
	assert_int_equal(daxpin_ofi_prep(local, &io, extent, 0, BYTES,
					 DAXPIN_HOLD_READ), 0);
	pid = fork();
	if (!pid)
		_exit(use_in_child(local, &io, extent));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_abort(&io), 0);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void check_refused(struct fixture *f, const struct fi_info *about, int result,
			  const char *words)
{
	const struct daxpin_ofi_local_options options = {
		.size = sizeof(options),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_ofi_local *local = NULL;
	struct pair pair;

	open_pair(&pair, NULL);
	assert_int_equal(daxpin_ofi_local_open(f->pool, pair.near.domain, about,
					       &options, &local), result);
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" does not say \"%s\"", f->errmsg, words);
	assert_null(local);
	assert_int_equal(pool_info(f).registrations, 0);
	close_pair(&pair);
}

static void a_domain_whose_requests_outlive_the_process_is_refused(void **state)
{
	struct daxpin_ofi_local_options options = { .size = sizeof(options) };
	struct daxpin_ofi_local *local = NULL;
	struct fixture *f = *state;
	struct fi_info *other;

	SKIP_WITHOUT_PROVIDER();
	other = fi_dupinfo(info);
	other->domain_attr->mr_mode |= FI_MR_LOCAL | FI_MR_ENDPOINT;
	check_refused(f, other, -EOPNOTSUPP, "pass only one of the two");
	other->domain_attr->mr_mode = info->domain_attr->mr_mode | FI_MR_ALLOCATED;
	check_refused(f, other, -EOPNOTSUPP, "after this process has died");
	other->domain_attr->mr_mode = info->domain_attr->mr_mode;
	other->ep_attr->type = FI_EP_MSG;
	check_refused(f, other, -EOPNOTSUPP, "cannot be found out");
	fi_freeinfo(other);
	assert_int_equal(daxpin_ofi_local_open(f->pool, NULL, info, &options, &local),
			 -EINVAL);
	options.flags = 1;
	assert_int_equal(daxpin_ofi_local_open(f->pool, (void *)f, info, &options,
					       &local), -EINVAL);
}

/* With a registration cache fi_close() of a region succeeds, and the device keeps the
 * pages. */
static void a_device_that_keeps_regions_is_refused(void **state)
{
	static const uint32_t refused[] = {
		DAXPIN_OFI_ENDS_UNKNOWN, DAXPIN_OFI_ENDS_ENDPOINT,
		DAXPIN_OFI_ENDS_NOTHING,
	};
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct fi_info *other;
	struct pair pair;

	SKIP_WITHOUT_PROVIDER();
	is_rdma = true;
	trials = 0;
	other = fi_dupinfo(info);
	other->domain_attr->mr_mode &= ~FI_MR_LOCAL;
	check_refused(f, other, -EOPNOTSUPP, "set FI_MR_LOCAL");
	assert_int_equal(trials, 0);
	other->domain_attr->mr_mode |= FI_MR_LOCAL;
	other->domain_attr->mr_mode &= ~FI_MR_ENDPOINT;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		verdict = refused[i];
		check_refused(f, other, -EOPNOTSUPP,
			      "was not shown: the test's verdict");
		assert_int_equal(trials, i + 1);
	}
	fi_freeinfo(other);
	verdict = DAXPIN_OFI_ENDS_REGION;
	open_pair(&pair, NULL);
	local = open_local(f, &pair, true);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	close_pair(&pair);
	is_rdma = false;
}

/* ------------------------------------------------------------------ two threads */

struct worker {
	struct fixture *f;
	struct daxpin_ofi_local *local;
	struct pair *pair;
	unsigned char value;
	pthread_t thread;
};

/* One message from one extent into another, which are freed before they are done. */
static void work_once(struct worker *w, unsigned char value)
{
	struct daxpin_extent out = live(w->f, BYTES), in = live(w->f, BYTES);
	unsigned char *source = daxpin_ptr(w->f->pool, out, 0);
	unsigned char *target = daxpin_ptr(w->f->pool, in, 0);
	struct daxpin_ofi_io from = { 0 }, to = { 0 };

	memset(source, value, BYTES);
	memset(target, 0, BYTES);
	assert_int_equal(daxpin_ofi_prep(w->local, &to, in, 0, BYTES,
					 DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_ofi_prep(w->local, &from, out, 0, BYTES,
					 DAXPIN_HOLD_READ), 0);
	/* The regions are of one of the domains, and these providers need none. */
	POST(w->pair, fi_recv(w->pair->far.ep, to.memory, BYTES, NULL, FI_ADDR_UNSPEC,
			      &to));
	POST(w->pair, fi_send(w->pair->near.ep, from.memory, BYTES, NULL,
			      w->pair->near_to_far, &from));
	assert_int_equal(publish(w->f, DAXPIN_OP_RETIRE, out), 0);
	assert_int_equal(publish(w->f, DAXPIN_OP_RETIRE, in), 0);
	assert_int_equal(await(w->pair, &from, &to), 0);
	/* If one of the blocks had been reused, the other thread would have stored its
	 * own value. */
	assert_int_equal(count(source, value), BYTES);
	assert_int_equal(count(target, value), BYTES);
	assert_int_equal(daxpin_ofi_done(&from), 0);
	assert_int_equal(daxpin_ofi_done(&to), 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < ROUNDS; i++)
		work_once(w, (unsigned char)(w->value + i % 100));
	return NULL;
}

static void two_threads_overwrite_nothing_that_is_in_flight(void **state)
{
	struct worker workers[PAIRS];
	struct daxpin_ofi_local *local;
	struct fixture *f = *state;
	struct pair pairs[PAIRS];

	SKIP_WITHOUT_PROVIDER();
	for (int i = 0; i < PAIRS; i++)
		open_pair(&pairs[i], NULL);
	local = open_local(f, &pairs[0], true);
	for (int i = 0; i < PAIRS; i++) {
		workers[i] = (struct worker){ .f = f, .local = local,
					      .pair = &pairs[i],
					      .value = (unsigned char)(1 + 100 * i) };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work,
						&workers[i]), 0);
	}
	for (int i = 0; i < PAIRS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	assert_int_equal(figures(local).prepared, 2 * PAIRS * ROUNDS);
	assert_int_equal(figures(local).in_flight, 0);
	assert_int_equal(daxpin_ofi_local_close(local), 0);
	for (int i = 0; i < PAIRS; i++)
		close_pair(&pairs[i]);
}

static const char *name = "tcp;ofi_rxm";

static int open_fabric(void **state)
{
	(void)state;
	return open_provider(name);
}

static int close_fabric(void **state)
{
	(void)state;
	return close_provider();
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_of_each_kind_holds_its_extent_until_done),
		TEST(retired_blocks_are_reused_after_the_error_entry),
		TEST(a_request_that_the_peer_refuses_ends_with_its_error_entry),
		TEST(a_request_that_was_not_posted_is_aborted),
		TEST(a_hold_is_dropped_once),
		TEST(a_request_outside_of_an_extent_is_refused),
		TEST(a_region_that_stays_open_keeps_the_hold),
		TEST(requests_of_two_pools_on_one_domain_are_kept_apart),
		TEST(a_hold_shows_the_direction_of_its_request),
		TEST(a_reclaim_waits_for_holds_only),
		TEST(in_a_child_of_fork_every_call_is_refused),
		TEST(a_domain_whose_requests_outlive_the_process_is_refused),
		TEST(a_device_that_keeps_regions_is_refused),
		TEST(two_threads_overwrite_nothing_that_is_in_flight),
	};

	if (argc > 1)
		name = argv[1];
	return cmocka_run_group_tests(tests, open_fabric, close_fabric);
}
