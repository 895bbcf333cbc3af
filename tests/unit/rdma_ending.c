/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How grants end in less simple cases: the device fails temporarily or for one grant
 * only, peers answer late, executors refuse or lose jobs, callbacks run at the same
 * time, and there are thousands of grants.
 */
#include "fixture.h"
#include "needs.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "fake_clock.h"
#include "rdma/scratch.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

#define MANY		5000

static struct daxpin_grant *reserve_and_grant(struct daxpin_extent *ret_extent)
{
	assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, ret_extent), 0);
	return grant_of(*ret_extent, NULL);
}

static struct daxpin_grant_key key_of(const struct daxpin_grant *grant)
{
	struct daxpin_grant_key key;

	daxpin_grant_key(grant, &key);
	return key;
}

static int info_of(struct daxpin_grant *grant)
{
	struct daxpin_grant_info info = { .size = sizeof(info) };

	return daxpin_grant_info(grant, &info);
}

/* -------------------------------------- a failure affects one grant only (C5) */

static int setup_large(void **state)
{
	fake_reset();
	executor.count = executor.taken = executor.refusals = 0;
	callbacks.asked = callbacks.done = 0;
	if (fixture_setup_sized(state, 128 << 20))
		return -1;
	f = *state;
	return attach_with(NULL);
}

/* Reserves an extent in the third segment, so that nothing in the first two is held. */
static void reserve_far_extent(void)
{
	struct daxpin_extent near[64];
	unsigned int count = 0;

	for (;;) {
		assert_int_equal(daxpin_reserve(f->pool, 2 << 20, 0, &extent),
				 0);
		if (extent.addr >= 64 << 20)
			break;
		near[count++] = extent;
	}
	while (count--)
		assert_int_equal(daxpin_cancel(f->pool, near[count]), 0);
}

static void a_stuck_local_key_does_not_delay_a_revoke(void **state)
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = NEVER,
	};
	struct daxpin_grant *grant;
	struct daxpin_job *job;
	uint32_t first, second;

	need_io_uring();
	(void)state;
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &first), 0);
	assert_int_equal(daxpin_rdma_lkey(rdma, 32 << 20, &second), 0);
	reserve_far_extent();
	grant = grant_of(extent, NULL);
	assert_int_equal(daxpin_rdma_revoke_start(grant, daxpin_deadline_ms(50)),
			 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	fake.stuck_key = first;
	fake.dereg_error = EIO;
	advance_clock(100);
	assert_int_equal(daxpin_rdma_service(rdma), -EIO);
	assert_int_equal(info_of(grant), -ESTALE);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(counts().local_mrs, 1);	/* the region that is stuck */
	fake.stuck_key = 0;
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().local_mrs, 0);
	daxpin_job_cancel(job);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

static void a_publish_ends_the_other_grants_if_one_fails(void **state)
{
	struct daxpin_extent extents[3];
	struct daxpin_grant *grants[3], *stuck;
	struct daxpin_op keeps[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		grants[i] = reserve_and_grant(&extents[i]);
		keeps[i] = (struct daxpin_op) {
			.type = DAXPIN_OP_KEEP, .extent = extents[i],
		};
	}
	stuck = grants[0];
	fake.stuck_key = key_of(stuck).rkey - 0x8000 + 0x100;
	fake.dereg_error = EIO;
	assert_int_equal(daxpin_rdma_publish(rdma, grants, 3, keeps, 3), -EIO);
	assert_ptr_equal(grants[0], stuck);
	assert_null(grants[1]);
	assert_null(grants[2]);
	assert_int_equal(counts().grants, 1);
	assert_int_equal(daxpin_idle(f->pool, extents[2]), 1);
	fake.stuck_key = 0;
	assert_int_equal(daxpin_rdma_publish(rdma, grants, 3, keeps, 3), 0);
	assert_null(grants[0]);
}

static void a_detach_ends_the_other_local_keys_if_one_fails(void **state)
{
	uint32_t first, second;

	(void)state;
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &first), 0);
	assert_int_equal(daxpin_rdma_lkey(rdma, 32 << 20, &second), 0);
	fake.stuck_key = first;
	fake.dereg_error = EIO;
	assert_int_equal(daxpin_rdma_detach(rdma), -EIO);
	assert_int_equal(counts().local_mrs, 1);
	fake.stuck_key = 0;
}

/* ---------------------------------- regions that the caller registers (C12) */

struct part {
	int result;
	char holder[DAXPIN_LABEL_MAX];
};

static void see_part(const struct daxpin_job_part *part, void *arg)
{
	struct part *seen = arg;

	seen->result = part->result;
	snprintf(seen->holder, sizeof(seen->holder), "%s",
		 part->holder ? part->holder->label : "");
}

static struct part reclaim_all(void)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct part part = { 1, "" };
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_report(job, see_part, &part, &summary), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	return part;
}

/* Without that flag the caller may register segments, so none is punched. */
static void unless_attached_with_no_regions_a_domain_pins_all_segments(void **state)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .label = "a server",
	};
	struct part part;

	need_io_uring();
	(void)state;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma),
			 0);
	part = reclaim_all();
	assert_int_equal(part.result, -EBUSY);
	assert_string_equal(part.holder, "a server: regions of its own");
	/* Local keys and grants work as usual. */
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &(uint32_t) { 0 }), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	options.flags = DAXPIN_RDMA_NO_REGIONS;
	assert_int_equal(daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma),
			 0);
	assert_int_equal(reclaim_all().result, 0);
}

/* ------------------------------------------------ the order of callbacks (C6) */

static atomic_bool other_waits, other_has_ended;

static void *return_it(void *grant)
{
	assert_int_equal(daxpin_grant_returned(grant), 0);
	return NULL;
}

static void *revoke_it(void *grant)
{
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	callbacks.result = 1;
	atomic_store(&other_has_ended, true);
	return NULL;
}

static struct daxpin_grant *current;
static void *(*meanwhile)(void *grant);
static pthread_t other;
static bool is_joined;

int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	atomic_store(&other_waits, true);
	return __real_pthread_cond_wait(condition, mutex);
}

static void await_the_other(void)
{
	while (!atomic_load(&other_waits) && !atomic_load(&other_has_ended))
		sched_yield();
}

/* In ask_back(), another thread ends the grant, as if the peer had answered already. */
static void on_ask_run_meanwhile(void *arg, const struct daxpin_grant_key *key)
{
	on_ask(arg, key);
	assert_int_equal(pthread_create(&other, NULL, meanwhile, current),
			 0);
	if (is_joined)
		pthread_join(other, NULL);
	else
		await_the_other();	/* which must still wait */
	assert_int_equal(callbacks.done, 0);
	assert_int_equal(callbacks.result, 0);
}

static struct daxpin_grant *grant_with(void (*ask_back)(void *arg,
					const struct daxpin_grant_key *key),
				       void (*done)(void *arg, int result))
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE,
		.ask_back = ask_back, .done = done, .arg = &callbacks,
	};

	callbacks.result = 0;
	assert_int_equal(daxpin_rdma_grant(rdma, extent, &options, &current),
			 0);
	return current;
}

static void done_is_called_after_ask_back_returned(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask_run_meanwhile, on_done);

	(void)state;
	meanwhile = return_it;
	is_joined = true;
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(callbacks.asked, 1);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(info_of(grant), -ESTALE);
}

static void on_ask_return(void *arg, const struct daxpin_grant_key *key)
{
	on_ask(arg, key);
	assert_int_equal(daxpin_grant_returned(current), 0);
	/*
	 * done() is not called from here, although the executor runs jobs immediately.
	 */
	assert_int_equal(callbacks.done, 0);
	assert_int_equal(about(current).state, DAXPIN_GRANT_STATE_QUEUED);
}

static void a_return_inside_ask_back_is_handled_after_ask_back(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask_return, on_done);

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(counts().pending, 0);
}

static void a_revoke_waits_for_ask_back(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask_run_meanwhile, on_done);

	(void)state;
	meanwhile = revoke_it;
	is_joined = false;
	other_waits = other_has_ended = false;
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	pthread_join(other, NULL);
	assert_int_equal(callbacks.result, 1);
	assert_int_equal(callbacks.done, 0);
	assert_int_equal(info_of(grant), -ESTALE);
}

static void on_ask_revoke(void *arg, const struct daxpin_grant_key *key)
{
	on_ask(arg, key);
	assert_int_equal(daxpin_rdma_revoke(current), 0);
}

static void ask_back_can_revoke_its_grant(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask_revoke, on_done);

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(callbacks.done, 0);
	assert_int_equal(info_of(grant), -ESTALE);
	assert_int_equal(counts().pending, 0);
}

/* If done() reports a failure, it starts the revoke again. */
static void on_done_again(void *arg, int result)
{
	uint32_t before = callbacks.done;

	on_done(arg, result);
	if (!result)
		return;
	assert_int_equal(daxpin_rdma_revoke_start(current, 0), 0);
	assert_int_equal(callbacks.done, before + 1);
}

static void a_revoke_started_in_done_reports_the_end(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask, on_done_again);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(callbacks.done, 2);
	assert_int_equal(callbacks.result, 0);
	assert_int_equal(info_of(grant), -ESTALE);
}

static void a_peer_is_not_asked_back_after_done_reported_a_failure(void **state)
{
	struct daxpin_grant *grant = grant_with(on_ask, on_done);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(callbacks.result, -EIO);
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(callbacks.asked, 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* -------------------------------------------------- temporary failures (C8) */

static const int temporary[] = { EINTR, EAGAIN, EBUSY };

#define TEMPORARY		(sizeof(temporary) / sizeof(temporary[0]))

static void a_temporary_failure_does_not_escalate(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	for (size_t i = 0; i < 2 * TEMPORARY; i++) {
		grant = grant_of(extent, i < TEMPORARY ? NULL : &fake_qp);
		fake.dereg_error = temporary[i % TEMPORARY];
		fake.dereg_refusals = 3;
		assert_int_equal(daxpin_rdma_revoke(grant), 0);
		assert_int_equal(fake.qp_stops, 0);
	}
	assert_int_equal(counts().refusals, 0);
	assert_int_equal(counts().quarantined, 0);
}

static void a_lasting_failure_escalates(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	for (size_t i = 0; i < TEMPORARY; i++) {
		grant = grant_of(extent, NULL);
		fake.dereg_error = temporary[i];
		fake.dereg_refusals = ALWAYS;
		assert_int_equal(daxpin_rdma_revoke(grant), -temporary[i]);
		assert_int_equal(counts().quarantined, 1);
		fake.dereg_refusals = 0;
		assert_int_equal(daxpin_rdma_revoke(grant), 0);
	}
}

static void an_interrupted_queue_pair_stop_is_repeated(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_after_qp = true;
	fake.qp_error = EINTR;
	fake.qp_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.qp_state, IBV_QPS_ERR);
}

static void an_interrupted_registration_is_repeated(void **state)
{
	uint32_t key;

	(void)state;
	for (size_t i = 0; i < TEMPORARY; i++) {
		fake.reg_passing = temporary[i];
		assert_int_equal(daxpin_rdma_revoke(grant_of(extent, NULL)), 0);
	}
	fake.reg_passing = EAGAIN;
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &key), 0);
	fake.dereg_error = EINTR;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(attach_with(NULL), 0);
}

/* -------------------------------------- grants that have ended already (C9) */

static void a_publish_after_the_grant_expired_succeeds(void **state)
{
	struct daxpin_grant *grants[] = { grant_of(extent, NULL) };
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP, .extent = extent };
	enum daxpin_state now;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grants[0],
						  daxpin_deadline_ms(50)), 0);
	advance_clock(100);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().expired, 1);
	assert_int_equal(daxpin_rdma_publish(rdma, grants, 1, &keep, 1), 0);
	assert_null(grants[0]);
	assert_int_equal(daxpin_state(f->pool, extent, &now), 0);
	assert_int_equal(now, DAXPIN_STATE_LIVE);
}

/* --------------------------------------------------- answers of peers (C10) */

static void returned_with_an_old_key_ends_no_other_grant(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	const struct daxpin_grant_key old = key_of(grant);
	struct daxpin_grant_key key;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	grant = grant_of(extent, NULL);
	key = key_of(grant);
	assert_int_equal(key.extent.gen, old.extent.gen);
	assert_int_not_equal(key.id, old.id);
	assert_int_equal(daxpin_rdma_returned(rdma, &old), -ESTALE);
	/*
	 * The key is from an earlier open of the pool, in which a grant had the same
	 * id.
	 */
	key.extent.gen -= UINT64_C(1) << 40;
	assert_int_equal(daxpin_rdma_returned(rdma, &key), -ESTALE);
	key = key_of(grant);
	key.extent.addr += 4096;
	assert_int_equal(daxpin_rdma_returned(rdma, &key), -ESTALE);
	key = key_of(grant);
	key.uuid[15] ^= 1;
	assert_int_equal(daxpin_rdma_returned(rdma, &key), -ESTALE);
	assert_int_equal(daxpin_rdma_returned(rdma, NULL), -EINVAL);
	assert_int_equal(daxpin_rdma_returned(NULL, &key), -EINVAL);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

static void an_imported_descriptor_returns_its_own_grant(void **state)
{
	static struct daxpin_grant *grants[MANY];
	unsigned char bytes[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct daxpin_grant_key key;

	(void)state;
	for (unsigned int i = 0; i < MANY; i++)
		grants[i] = grant_of(extent, NULL);
	for (unsigned int i = 0; i < MANY; i += 7) {
		assert_int_equal(daxpin_grant_export(grants[i], bytes,
						     sizeof(bytes)),
				 DAXPIN_GRANT_DESCRIPTOR_SIZE);
		assert_int_equal(daxpin_grant_import(bytes, sizeof(bytes),
						     &key), 0);
		assert_int_equal(daxpin_rdma_returned(rdma, &key), 0);
		assert_int_equal(daxpin_rdma_returned(rdma, &key), -EALREADY);
		assert_int_equal(about(grants[i]).state,
				 DAXPIN_GRANT_STATE_QUEUED);
	}
	assert_int_equal(counts().returned, (MANY + 6) / 7);
	for (unsigned int i = 0; i < MANY; i++)
		assert_int_equal(daxpin_rdma_revoke(grants[i]), 0);
	assert_int_equal(counts().pending, 0);
}

/* ------------------------------------------------------------- the executor */

static void a_job_that_the_executor_refuses_is_offered_again(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	executor.refusals = 2;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_QUEUED);
	assert_int_equal(counts().executor_refusals, 1);
	assert_true(counts().next_deadline_ns > daxpin_deadline_ms(0));
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().executor_refusals, 2);
	assert_false(run_job());
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().next_deadline_ns, 0);
	assert_true(run_job());
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(info_of(grant), -ESTALE);
}

/* One of the grants was asked back, and one was returned by its peer. */
static void grants_of_an_executor_that_always_refuses_can_be_revoked(void **state)
{
	struct daxpin_extent extents[3];
	struct daxpin_grant *grants[3];

	(void)state;
	executor.refusals = ALWAYS;
	for (int i = 0; i < 3; i++)
		grants[i] = reserve_and_grant(&extents[i]);
	assert_int_equal(daxpin_rdma_revoke_start(grants[0], 0), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grants[1],
						  daxpin_deadline_ms(50)), 0);
	assert_int_equal(daxpin_grant_returned(grants[2]), 0);
	advance_clock(100);
	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().executor_refusals, 2 * 4 + 3);
	assert_int_equal(counts().pending, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_rdma_revoke(grants[i]), 0);
	assert_int_equal(counts().pending | counts().grants, 0);
	assert_int_equal(counts().next_deadline_ns, 0);
	assert_int_equal(callbacks.done, 0);
}

/* The executor runs the job after other attachments have used the same slot. */
static void a_revoke_ends_a_grant_whose_job_the_executor_lost(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_QUEUED);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	for (unsigned int i = 0; i < 1100; i++)
		assert_int_equal(daxpin_rdma_revoke(grant_of(extent, NULL)), 0);
	for (unsigned int i = 0; i < 70; i++) {
		assert_int_equal(daxpin_rdma_detach(rdma), 0);
		assert_int_equal(attach_with(keep_job), 0);
	}
	assert_true(run_job());
	assert_int_equal(callbacks.done, 0);
	assert_int_equal(fake.deregs, 1101);
}

/*
 * A revoke does the work of the first job, but the device refuses. revoke_start() then
 * gives a second job to the executor, which runs both.
 */
static void a_grant_with_two_jobs_ends_once(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_true(run_job());
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(info_of(grant), -ESTALE);
	assert_true(run_job());
	assert_int_equal(callbacks.done, 1);
}

static void *run_cancelled(void *unused)
{
	(void)unused;
	pthread_cancel(pthread_self());
	run_job();
	pthread_testcancel();
	return NULL;
}

/* A cancellation point, as a driver may contain. */
static void sleep_a_little(void)
{
	usleep(1);
}

static void a_cancelled_executor_ends_its_grant(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	pthread_t thread;
	void *result;

	(void)state;
	fake.in_dereg = sleep_a_little;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_cancelled, NULL), 0);
	pthread_join(thread, &result);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(info_of(grant), -ESTALE);
}

/* --------------------------------------------------------- thousands of grants */

static uint64_t random_of(unsigned int i)
{
	return i * UINT64_C(2654435761) % 1000;
}

static int compare_deadlines(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/*
 * Grants expire in the order of their deadlines, whatever the order of the revokes,
 * even if some deadlines change and some grants end meanwhile.
 */
static void grants_expire_in_the_order_of_their_deadlines(void **state)
{
	static struct daxpin_grant *grants[MANY];
	static uint64_t due[MANY];
	const uint64_t begin = daxpin_deadline_ms(1000000);
	unsigned int i, left = 0;

	(void)state;
	for (i = 0; i < MANY; i++) {
		grants[i] = grant_of(extent, NULL);
		due[left++] = begin + random_of(i) * 1000000000000;
		assert_int_equal(daxpin_rdma_revoke_start(grants[i],
							  due[i]), 0);
	}
	for (i = 0, left = 0; i < MANY; i++) {
		if (i % 3 == 1) {
			assert_int_equal(daxpin_rdma_revoke(grants[i]), 0);
			continue;
		}
		due[left] = due[i];
		if (i % 3 == 0)
			due[left] = begin + random_of(i + 1) * 1000000000000;
		assert_int_equal(daxpin_rdma_revoke_start(grants[i],
							  due[left++]), 0);
	}
	qsort(due, left, sizeof(due[0]), compare_deadlines);
	for (i = 0; i < left;) {
		assert_int_equal(counts().next_deadline_ns, due[i]);
		advance_clock((due[i] - daxpin_deadline_ms(0)) / 1000000 + 1);
		assert_int_equal(daxpin_rdma_service(rdma), 0);
		while (i < left && due[i] <= daxpin_deadline_ms(0))
			i++;
		assert_true(callbacks.done <= i);
	}
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().expired, left);
	assert_int_equal(callbacks.done, left);
}

/* -------------------------------------------------------- limits of a trial */

int __real_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *to);
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *to);

/* Makes every file look like one on a DAX filesystem. */
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *to)
{
	int ret = __real_statx(fd, path, flags, mask, to);

	to->stx_attributes |= STATX_ATTR_DAX;
	return ret;
}

/* In a full pool, the trial of a device writes to a file beside the pool. */
static void a_trial_above_the_file_size_limit_raises_no_signal(void **state)
{
	struct rlimit before, limit;
	void *memory;
	int ret;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ret = dp_scratch_map(f->pool, 65536, &memory);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(ret, -EFBIG);
	assert_int_equal(dp_scratch_map(f->pool, 65536, &memory), 0);
	assert_int_equal(munmap(memory, 65536), 0);
}

int main(void)
{
#define TEST(name, how) \
	cmocka_unit_test_setup_teardown(name, how, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_stuck_local_key_does_not_delay_a_revoke, setup_large),
		TEST(a_publish_ends_the_other_grants_if_one_fails, setup),
		TEST(a_detach_ends_the_other_local_keys_if_one_fails, setup),
		TEST(unless_attached_with_no_regions_a_domain_pins_all_segments, setup),
		TEST(done_is_called_after_ask_back_returned, setup_inline),
		TEST(a_return_inside_ask_back_is_handled_after_ask_back, setup_inline),
		TEST(a_revoke_waits_for_ask_back, setup),
		TEST(ask_back_can_revoke_its_grant, setup),
		TEST(a_revoke_started_in_done_reports_the_end, setup_inline),
		TEST(a_peer_is_not_asked_back_after_done_reported_a_failure,
		     setup_inline),
		TEST(a_temporary_failure_does_not_escalate, setup),
		TEST(a_lasting_failure_escalates, setup),
		TEST(an_interrupted_queue_pair_stop_is_repeated, setup),
		TEST(an_interrupted_registration_is_repeated, setup),
		TEST(a_publish_after_the_grant_expired_succeeds, setup),
		TEST(returned_with_an_old_key_ends_no_other_grant, setup),
		TEST(an_imported_descriptor_returns_its_own_grant, setup),
		TEST(a_job_that_the_executor_refuses_is_offered_again, setup_executor),
		TEST(grants_of_an_executor_that_always_refuses_can_be_revoked,
		     setup_executor),
		TEST(a_revoke_ends_a_grant_whose_job_the_executor_lost, setup_executor),
		TEST(a_grant_with_two_jobs_ends_once, setup_executor),
		TEST(a_cancelled_executor_ends_its_grant, setup_executor),
		TEST(grants_expire_in_the_order_of_their_deadlines, setup),
		TEST(a_trial_above_the_file_size_limit_raises_no_signal, setup),
	};

	stop_clock();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
