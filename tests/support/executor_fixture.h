/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of how grants end: an executor that keeps its jobs, callbacks that count,
 * and an attachment to the fake device. Include it after grant_fixture.h.
 */
#ifndef EXECUTOR_FIXTURE_H
#define EXECUTOR_FIXTURE_H

#define WRITE		IBV_ACCESS_REMOTE_WRITE
#define BYTES		UINT64_C(8192)
#define NEVER		daxpin_deadline_ms(1000000)
#define JOBS_MAX	4096

/* ------------------------------------------- callbacks of the application */

/* An executor that keeps its jobs until the test runs them. */
struct executor {
	pthread_mutex_t lock;
	uint32_t refusals;		/* the number of jobs to refuse first */
	uint32_t count, taken;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} jobs[JOBS_MAX];
};

struct callbacks {
	pthread_mutex_t lock;
	uint32_t asked, done;
	int result;
	struct daxpin_grant_key key;
};

static struct executor executor = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct callbacks callbacks = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline int keep_job(void (*fn)(void *arg), void *arg, void *to)
{
	struct executor *e = to;
	bool refused;

	pthread_mutex_lock(&e->lock);
	refused = e->refusals > 0;
	if (refused) {
		if (e->refusals != ALWAYS)
			e->refusals--;
	} else {
		assert_true(e->count < JOBS_MAX);
		e->jobs[e->count].fn = fn;
		e->jobs[e->count++].arg = arg;
	}
	pthread_mutex_unlock(&e->lock);
	return refused;
}

static inline bool run_job(void)
{
	void (*fn)(void *arg) = NULL;
	void *arg = NULL;

	pthread_mutex_lock(&executor.lock);
	if (executor.taken < executor.count) {
		fn = executor.jobs[executor.taken].fn;
		arg = executor.jobs[executor.taken++].arg;
	}
	pthread_mutex_unlock(&executor.lock);
	if (fn)
		fn(arg);
	return fn != NULL;
}

static inline int run_inline(void (*fn)(void *arg), void *arg, void *to)
{
	(void)to;
	fn(arg);
	return 0;
}

static inline void on_ask(void *arg, const struct daxpin_grant_key *key)
{
	struct callbacks *n = arg;

	pthread_mutex_lock(&n->lock);
	n->asked++;
	n->key = *key;
	pthread_mutex_unlock(&n->lock);
}

static inline void on_done(void *arg, int result)
{
	struct callbacks *n = arg;

	pthread_mutex_lock(&n->lock);
	n->done++;
	n->result = result;
	pthread_mutex_unlock(&n->lock);
}

static inline int attach_with(int (*run)(void (*fn)(void *arg), void *arg, void *to))
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .flags = DAXPIN_RDMA_NO_REGIONS,
		.run = run, .executor = &executor,
	};

	return daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma);
}

static inline int setup_with(void **state,
		      int (*run)(void (*fn)(void *arg), void *arg, void *to))
{
	fake_reset();
	executor.count = executor.taken = executor.refusals = 0;
	callbacks.asked = callbacks.done = 0;
	if (fixture_setup_sized(state, 64 << 20))
		return -1;
	f = *state;
	return attach_with(run) || daxpin_reserve(f->pool, BYTES, 0, &extent);
}

static inline int setup(void **state)
{
	return setup_with(state, NULL);
}

static inline int setup_executor(void **state)
{
	return setup_with(state, keep_job);
}

static inline int setup_inline(void **state)
{
	return setup_with(state, run_inline);
}

/* Asserts that nothing is left: no region, no hold, no pin. */
static inline int teardown(void **state)
{
	int err = daxpin_rdma_detach(rdma) || fake.live ||
		  daxpin_idle(f->pool, extent) == 0;

	rdma = NULL;
	return fixture_teardown(state) || err;
}

static inline struct daxpin_grant *grant_of(struct daxpin_extent of, struct ibv_qp *qp)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .qp = qp,
		.ask_back = on_ask, .done = on_done, .arg = &callbacks,
	};
	struct daxpin_grant *grant;

	assert_int_equal(daxpin_rdma_grant(rdma, of, &options, &grant), 0);
	return grant;
}

#endif
