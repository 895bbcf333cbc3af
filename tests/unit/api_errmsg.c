/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * errmsg describes the failure that the call returns. Each call that takes an errmsg is
 * made with another call's message in the buffer: the buffer must be empty after
 * success and overwritten after failure. Outputs are written only on success. The last
 * tests are about limits of the process and filters of system calls.
 */
#include "fixture.h"
#include "invariant.h"
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "child.h"
#include "core/handle.h"
#include "forbid.h"
#include "needs.h"

#define MIB		(UINT64_C(1) << 20)
#define STALE		"what an earlier call left"
#define CANNOT		255	/* unavailable on this machine */
#define UNTOUCHED	((void *)0x5a5a)

/*
 * Which arguments a call gets: valid ones, invalid ones, or options of a newer version.
 */
enum how { GOOD, BAD, TOO_NEW };

struct context {
	struct fixture *f;
	char errmsg[512];
	char other[80];
	char fresh[80];
	char backup[80];
	void *output;
	unsigned char summary[sizeof(struct daxpin_check_summary)];
};

/* Options of a newer version have a non-zero tail. */
#define OPTIONS(type, ...)						\
	struct {							\
		type o;							\
		uint64_t tail;						\
	} options = { .o = {						\
		.size = how == TOO_NEW ? sizeof(options) :		\
			sizeof(options.o),				\
		.errmsg = s->errmsg, .errmsg_size = sizeof(s->errmsg),	\
		__VA_ARGS__ }, .tail = 1 }

static int call_create(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options, .pool_size = 32 * MIB,
		.segment_size = how == BAD ? 33 * MIB : 32 * MIB,
		.flags = DAXPIN_POOL_OVERWRITE);

	return daxpin_pool_create(s->other, &options.o, (void *)&s->output);
}

static int call_open(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options, .uuid = { how == BAD });

	return daxpin_pool_open(s->other, &options.o, (void *)&s->output);
}

/* The first call creates the pool. In the second the create fails, and the open that
 * follows succeeds. */
static int call_open_or_create(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options, .pool_size = 32 * MIB,
		.segment_size = 32 * MIB, .flags = DAXPIN_POOL_CREATE,
		.uuid = { how == BAD });

	return daxpin_pool_open(s->fresh, &options.o, (void *)&s->output);
}

static void close_it(struct context *s)
{
	assert_int_equal(daxpin_pool_close(s->output), 0);
}

static int call_check(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options);
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	int ret;

	ret = daxpin_check(how == BAD ? "/dev/null" : s->other, &options.o,
			   NULL, NULL, &summary);
	if (!ret)
		s->output = NULL;
	else
		assert_int_equal(summary.source, 0);
	return ret;
}

static int call_repair(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options);
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	int ret;

	ret = daxpin_repair(how == BAD ? "/dev/null" : s->other, &options.o,
			    s->backup, NULL, NULL, &summary);
	if (!ret)
		s->output = NULL;
	else
		assert_int_equal(summary.source, 0);
	return ret;
}

static int call_undo(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_pool_options);

	return daxpin_repair_undo(s->other, &options.o, s->backup);
}

static int call_publish(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_publish_options);
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	size_t failed = SIZE_MAX;
	int ret;

	assert_int_equal(daxpin_reserve(s->f->pool, 4096, 0, &op.extent), 0);
	if (how == BAD)
		op.type = DAXPIN_OP_RETIRE;
	ret = daxpin_publish(s->f->pool, &op, 1, &options.o, &failed);
	assert_true(ret ? failed <= 1 : failed == SIZE_MAX);
	if (ret)
		assert_int_equal(daxpin_cancel(s->f->pool, op.extent), 0);
	else
		s->output = NULL;
	return ret;
}

static int call_copy(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_copy_options);
	struct daxpin_extent from, to = { 1, 1 };
	int ret;

	assert_int_equal(daxpin_reserve(s->f->pool, 4096, 0, &from), 0);
	if (how == BAD)
		from.gen++;
	ret = daxpin_copy(s->f->pool, from, &options.o, &to);
	if (how == BAD)
		from.gen--;
	assert_int_equal(daxpin_cancel(s->f->pool, from), 0);
	if (ret) {
		assert_int_equal(to.addr, 1);
		return ret;
	}
	s->output = NULL;
	assert_int_equal(daxpin_cancel(s->f->pool, to), 0);
	return 0;
}

/* Nothing is removed: the size is what the pool has. */
static int call_shrink(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_shrink_options);
	uint64_t size = pool_info(s->f).media_bytes;
	int ret = daxpin_pool_shrink(s->f->pool, how == BAD ? 0 : size, &options.o);

	if (!ret)
		s->output = NULL;
	return ret;
}

static int call_register(struct context *s, enum how how)
{
	OPTIONS(struct daxpin_registration_options, .label = "errmsg");

	return daxpin_register(s->f->pool, how == BAD ? 99 : 0, &options.o,
			       (void *)&s->output);
}

static void unregister(struct context *s)
{
	assert_int_equal(daxpin_unregister(s->output), 0);
}

static int call_job(struct context *s, enum how how,
		    int (*begin)(struct daxpin_pool *,
				 const struct daxpin_job_options *,
				 struct daxpin_job **))
{
	OPTIONS(struct daxpin_job_options, .segment = how == BAD ? 99 : 0);

	return begin(s->f->pool, &options.o, (void *)&s->output);
}

static int call_reclaim(struct context *s, enum how how)
{
	return call_job(s, how, daxpin_reclaim);
}

static int call_refill(struct context *s, enum how how)
{
	return call_job(s, how, daxpin_refill);
}

static void end_job(struct context *s)
{
	assert_int_equal(daxpin_job_wait(s->output, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(s->output), 0);
}

static const struct {
	const char *name;
	int (*run)(struct context *s, enum how how);
	void (*undo)(struct context *s);
	bool fails_only;
} calls[] = {
	{ "create", call_create, close_it, false },
	{ "open", call_open, close_it, false },
	{ "create by open", call_open_or_create, close_it, false },
	{ "open after a failed create", call_open_or_create, close_it, false },
	{ "check", call_check, NULL, false },
	{ "repair", call_repair, NULL, false },
	{ "repair_undo", call_undo, NULL, true },
	{ "publish", call_publish, NULL, false },
	{ "copy", call_copy, NULL, false },
	{ "pool_shrink", call_shrink, NULL, false },
	{ "register", call_register, unregister, false },
	{ "reclaim", call_reclaim, end_job, false },
	{ "refill", call_refill, end_job, false },
};

static void try_call(struct context *s, size_t i, enum how how)
{
	int ret;

	strcpy(s->errmsg, STALE);
	s->output = UNTOUCHED;
	ret = calls[i].run(s, how);
	print_message("# %s: %d \"%s\"\n", calls[i].name, ret, s->errmsg);
	if (ret) {
		assert_ptr_equal(s->output, UNTOUCHED);
		assert_true(s->errmsg[0]);
		assert_null(strstr(s->errmsg, STALE));
		assert_true(how != GOOD || calls[i].fails_only);
		return;
	}
	assert_int_equal(how, GOOD);
	assert_string_equal(s->errmsg, "");
	if (calls[i].undo)
		calls[i].undo(s);
}

static void errmsg_is_new_after_a_failure_and_empty_after_success(void **state)
{
	struct fixture *f = *state;
	struct context s = { .f = f };

	need_io_uring();
	snprintf(s.other, sizeof(s.other), "%s/other", f->path);
	snprintf(s.fresh, sizeof(s.fresh), "%s/fresh", f->path);
	snprintf(s.backup, sizeof(s.backup), "%s/backup", f->path);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		for (enum how how = GOOD; how <= TOO_NEW; how++)
			try_call(&s, i, how);
	dp_invariants(f->pool);
}

/* --------------------------------------------------------------------- objects */

static struct daxpin_op op_at(uint32_t type, uint64_t addr, const char *name)
{
	return (struct daxpin_op) {
		.type = type, .extent = { addr, 0 }, .name = name
	};
}

#define OBJECT_KEEP(addr)	op_at(DAXPIN_OP_OBJECT_KEEP, addr, NULL)
#define OBJECT_FREE(addr)	op_at(DAXPIN_OP_OBJECT_FREE, addr, NULL)
#define SET(addr)		op_at(DAXPIN_OP_SET, addr, NULL)
#define ROOT(addr)		op_at(DAXPIN_OP_ROOT, addr, "top")
#define ROOT_WHAT		"ROOT \"top\" of the object"

static uint64_t new_object(struct fixture *f)
{
	uint64_t addr = 0;

	assert_int_equal(daxpin_object_reserve(f->pool, 64, DAXPIN_RESERVE_ZERO,
					       &addr), 0);
	return addr;
}

/* The last operation fails; the sentence has its type and address, and the words. */
static void object_fails(struct fixture *f, const struct daxpin_op *ops, size_t count,
			 int error, const char *what, const char *words)
{
	struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	char begin[120];
	size_t failed = SIZE_MAX;

	snprintf(begin, sizeof(begin), "operation %zu (%s at 0x%llx): ", count - 1,
		 what, (unsigned long long)ops[count - 1].extent.addr);
	assert_int_equal(daxpin_publish(f->pool, ops, count, &options, &failed), error);
	print_message("# %s\n", f->errmsg);
	assert_int_equal(failed, count - 1);
	assert_memory_equal(f->errmsg, begin, strlen(begin));
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" does not contain \"%s\"", f->errmsg, words);
}

static void one_fails(struct fixture *f, struct daxpin_op op, int error,
		      const char *what, const char *words)
{
	object_fails(f, &op, 1, error, what, words);
}

static void errmsg_of_a_free_object_says_that_it_is_free(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = new_object(f);

	assert_int_equal(daxpin_object_cancel(f->pool, addr), 0);
	one_fails(f, OBJECT_FREE(addr), -ESTALE, "OBJECT_FREE of the object",
		  "the object is free: it was freed or cancelled before, or lost at a close because it was not kept; free each object once");
	one_fails(f, OBJECT_KEEP(addr), -ESTALE, "OBJECT_KEEP of the object",
		  "reserve another");
	one_fails(f, SET(addr), -ESTALE, "SET of the object", "the object is free");
	one_fails(f, ROOT(addr), -ESTALE, ROOT_WHAT, "the object is free");
}

static void errmsg_of_an_object_names_the_state_that_it_should_have(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = new_object(f);
	struct daxpin_op range = OBJECT_KEEP(addr), set = SET(addr);

	one_fails(f, OBJECT_FREE(addr), -EINVAL, "OBJECT_FREE of the object",
		  "reserved and not live: free it with daxpin_object_cancel()");
	one_fails(f, SET(addr), -EINVAL, "SET of the object", "or in the same call");
	one_fails(f, ROOT(addr), -EINVAL, ROOT_WHAT, "or in the same call");
	range.offset = 65;
	one_fails(f, range, -EINVAL, "OBJECT_KEEP of the object",
		  "offset 65 and length 0 are not inside the object of 64 bytes");
	range = OBJECT_KEEP(addr);
	assert_int_equal(daxpin_publish(f->pool, &range, 1, NULL, NULL), 0);
	one_fails(f, range, -EINVAL, "OBJECT_KEEP of the object",
		  "not reserved: it was kept before");
	set.offset = 64;
	one_fails(f, set, -EINVAL, "SET of the object",
		  "offset 64 is not inside the object of 64 bytes");
}

static void errmsg_where_no_object_begins_says_so(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = new_object(f) + 16;
	struct daxpin_op op = OBJECT_KEEP(addr);

	one_fails(f, op, -EINVAL, "OBJECT_KEEP of the object",
		  "no object begins at that address: give one that daxpin_object_reserve() has stored");
	one_fails(f, ROOT(addr), -EINVAL, ROOT_WHAT,
		  "no object begins at that address");
	one_fails(f, SET(addr), -EINVAL, "SET of the object",
		  "or the handle of an extent, whose gen is not 0");
	op.extent = reserve(f, 4096);
	one_fails(f, op, -EINVAL, "OBJECT_KEEP of the object",
		  "must be 0 for an object: an extent is kept with KEEP");
	op.type = DAXPIN_OP_OBJECT_FREE;
	one_fails(f, op, -EINVAL, "OBJECT_FREE of the object",
		  "an extent is freed with RETIRE");
}

static void errmsg_of_a_busy_object_names_the_root(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = new_object(f);
	struct daxpin_op ops[] = { OBJECT_KEEP(addr), ROOT(addr) };

	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
	one_fails(f, OBJECT_FREE(addr), -EBUSY, "OBJECT_FREE of the object",
		  "the root \"top\" names the object: let it name something else in the same call");
}

/* A publish of another thread has claimed the object. */
static void errmsg_of_an_object_that_another_call_publishes(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = new_object(f);
	struct daxpin_op keep = OBJECT_KEEP(addr);
	struct dp_object object;

	assert_true(dp_object_find(&f->pool->objects, addr, &object));
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), 0);
	one_fails(f, keep, -EBUSY, "OBJECT_KEEP of the object",
		  "another call publishes the object: try again");
	dp_object_settle(object, DP_OBJECT_RESERVED);
	assert_int_equal(daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_LIVE), 0);
	one_fails(f, OBJECT_FREE(addr), -EBUSY, "OBJECT_FREE of the object",
		  "another call publishes the object: try again");
	one_fails(f, ROOT(addr), -EBUSY, ROOT_WHAT,
		  "another call publishes the name or the object: try again");
	dp_object_settle(object, DP_OBJECT_LIVE);
}

static void errmsg_of_an_object_twice_in_a_call_names_the_other(void **state)
{
	struct fixture *f = *state;
	uint64_t a = new_object(f), b = new_object(f);
	struct daxpin_op kept[] = { OBJECT_KEEP(a), OBJECT_KEEP(a) };
	struct daxpin_op freed[] = { OBJECT_FREE(b), OBJECT_FREE(b) };
	struct daxpin_op set[] = { OBJECT_FREE(b), SET(b) };
	struct daxpin_op named[] = { OBJECT_FREE(b), ROOT(b) };
	struct daxpin_op early[] = { OBJECT_KEEP(a), OBJECT_FREE(a) };
	struct daxpin_op keep = OBJECT_KEEP(b);

	assert_int_equal(daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
	object_fails(f, kept, 2, -EINVAL, "OBJECT_KEEP of the object",
		     "operation 0 of the call keeps the same object");
	object_fails(f, early, 2, -EINVAL, "OBJECT_FREE of the object",
		     "operation 0 of the call keeps the same object");
	object_fails(f, freed, 2, -EINVAL, "OBJECT_FREE of the object",
		     "operation 0 of the call frees the same object");
	object_fails(f, set, 2, -EINVAL, "SET of the object",
		     "operation 0 of the call frees the same object");
	object_fails(f, named, 2, -EINVAL, ROOT_WHAT,
		     "operation 0 of the call frees the same object");
}

/* An object that begins where a block does, so that the address alone could be that of
 * an extent. */
static uint64_t aligned_object(struct fixture *f)
{
	uint64_t addr;

	do
		addr = new_object(f);
	while (addr % 4096);
	return addr;
}

static void calls_for_extents_refuse_an_object(void **state)
{
	struct fixture *f = *state;
	struct daxpin_copy_options options = {
		.size = sizeof(options), .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_extent at = { aligned_object(f), 0 }, to;
	uint64_t size;
	char byte;

	assert_int_equal(daxpin_hold(f->pool, at, DAXPIN_HOLD_READ), -EINVAL);
	assert_int_equal(daxpin_hold_clone(f->pool, at, DAXPIN_HOLD_READ), -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, at), -EINVAL);
	assert_int_equal(daxpin_cancel(f->pool, at), -EINVAL);
	assert_int_equal(daxpin_size(f->pool, at, &size), -EINVAL);
	assert_int_equal(daxpin_read(f->pool, at, 0, 1, &byte), -EINVAL);
	assert_int_equal(daxpin_persist(f->pool, at, 0, 1), -EINVAL);
	assert_null(daxpin_ptr(f->pool, at, 0));
	assert_int_equal(daxpin_copy(f->pool, at, &options, &to), -EINVAL);
	assert_non_null(strstr(f->errmsg, "daxpin_object_read()"));
	one_fails(f, op_at(DAXPIN_OP_KEEP, at.addr, NULL), -EINVAL,
		  "KEEP of the extent", "a small object begins there");
	one_fails(f, op_at(DAXPIN_OP_RETIRE, at.addr, NULL), -EINVAL,
		  "RETIRE of the extent", "use OBJECT_FREE");
}

/* ---------------------------------------------------------------- the limits */

/*
 * Closes the pool, runs fn in a child, which may open the pool, and asserts that the
 * pool opens afterwards as closed cleanly. fn returns 0, CANNOT, or the number of the
 * step that failed.
 */
static void in_child(struct fixture *f, int (*fn)(void *f), const char *why_not)
{
	int status;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	status = run_child(fn, f);
	f->options.deadline_ns = daxpin_deadline_ms(600000);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	if (status == CANNOT) {
		print_message("# skipped: %s\n", why_not);
		skip();
	}
	assert_int_equal(status, 0);
	assert_int_equal(pool_info(f).unclean, 0);
}

/* Runs in a child that may open no more descriptors. */
static int close_with_none(void *arg)
{
	const struct rlimit none = { 0, 0 };
	struct fixture *f = arg;
	struct daxpin_pool *pool;

	if (daxpin_pool_open(f->path, NULL, &pool) ||
	    setrlimit(RLIMIT_NOFILE, &none))
		return 1;
	return daxpin_pool_close(pool) ? 2 : 0;
}

static void a_close_works_without_free_descriptors(void **state)
{
	in_child(*state, close_with_none, NULL);
}

static void count_holder(const struct daxpin_holder *holder, void *arg)
{
	(void)holder;
	++*(int *)arg;
}

static int use_with_none(struct fixture *f)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP, .flags = 0 };
	struct daxpin_hold hold = { .access = 0 };
	char bytes[64];
	int holders = 0;

	if (daxpin_reserve(f->pool, 4096, DAXPIN_RESERVE_ZERO, &op.extent) ||
	    daxpin_publish(f->pool, &op, 1, NULL, NULL))
		return 10;
	if (daxpin_hold_labelled(f->pool, op.extent, DAXPIN_HOLD_READ, "x", &hold) ||
	    daxpin_read(f->pool, op.extent, 0, sizeof(bytes), bytes) ||
	    daxpin_persist(f->pool, op.extent, 0, 4096) ||
	    daxpin_holds(f->pool, op.extent, count_holder, &holders) != 1)
		return 11;
	if (holders != 1 || daxpin_drop_labelled(f->pool, &hold) ||
	    daxpin_pool_drain(f->pool, daxpin_deadline_ms(600000)))
		return 12;
	op.type = DAXPIN_OP_RETIRE;
	return daxpin_publish(f->pool, &op, 1, NULL, NULL) ? 13 : 0;
}

static int run_job(struct fixture *f, const struct daxpin_job_options *options)
{
	struct daxpin_job *job;
	int ret = daxpin_reclaim(f->pool, options, &job);

	if (ret)
		return ret;
	ret = daxpin_job_wait(job, DAXPIN_NO_DEADLINE);
	return daxpin_job_end(job) ? 1 : ret;
}

/*
 * A job without descriptors for its ring fails, and the message says so. With
 * DAXPIN_JOB_BLOCKING it succeeds, and with descriptors it succeeds again without.
 */
static int reclaim_with_few(void *arg)
{
	const struct rlimit none = { 0, 1000 }, enough = { 1000, 1000 };
	struct fixture *f = arg;
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.bytes = DAXPIN_CHUNK_SIZE, .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	int ret;

	if (daxpin_pool_open(f->path, NULL, &f->pool) ||
	    setrlimit(RLIMIT_NOFILE, &none))
		return 1;
	if (run_job(f, &options) != -ENOSYS ||
	    !strstr(f->errmsg, strerror(EMFILE)))
		return 2;
	options.flags = DAXPIN_JOB_BLOCKING;
	if (run_job(f, &options))
		return 3;
	ret = use_with_none(f);
	options.flags = 0;
	if (!ret && (setrlimit(RLIMIT_NOFILE, &enough) || run_job(f, &options)))
		ret = 4;
	return daxpin_pool_close(f->pool) ? 5 : ret;
}

static void an_open_pool_can_be_used_without_free_descriptors(void **state)
{
	need_io_uring();
	in_child(*state, reclaim_with_few, NULL);
}

/* In a child: RLIMIT_AS lets it map little more than it has mapped already. */
static int open_with_few_addresses(void *arg)
{
	struct fixture *f = arg;
	unsigned long long pages;
	struct daxpin_pool *pool;
	struct rlimit limit;
	FILE *statm = fopen("/proc/self/statm", "re");

	f->options.deadline_ns = 0;
	if (!statm || fscanf(statm, "%llu", &pages) != 1 ||
	    getrlimit(RLIMIT_AS, &limit))
		return CANNOT;
	fclose(statm);
	limit.rlim_cur = pages * sysconf(_SC_PAGESIZE) + 16 * MIB;
	if (setrlimit(RLIMIT_AS, &limit))
		return CANNOT;
	if (daxpin_pool_open(f->path, &f->options, &pool) != -ENOMEM)
		return 1;
	if (!strstr(f->errmsg, " 64 MiB of addresses") ||
	    !strstr(f->errmsg, "RLIMIT_AS"))
		return 2;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_AS, &limit) ||
	    daxpin_pool_open(f->path, &f->options, &pool))
		return 3;
	return daxpin_pool_close(pool) ? 4 : 0;
}

static void a_pool_larger_than_the_address_space_limit_is_enomem(void **state)
{
	need_address_limit();
	in_child(*state, open_with_few_addresses, "there is no /proc/self/statm");
}

/* Runs in a child with a file size limit of 1 MiB. SIGXFSZ would kill it. */
static int create_with_small_files(void *arg)
{
	const struct rlimit small = { MIB, MIB };
	struct fixture *f = arg;
	struct daxpin_pool *pool;
	char path[80];

	snprintf(path, sizeof(path), "%s/large", f->path);
	if (setrlimit(RLIMIT_FSIZE, &small))
		return 1;
	if (daxpin_pool_create(path, &f->options, &pool) != -EFBIG)
		return 2;
	return strstr(f->errmsg, "RLIMIT_FSIZE") &&
	       strstr(f->errmsg, " 1048576 ") &&
	       strstr(f->errmsg, " 33554432:") ? 0 : 3;
}

static void a_create_above_the_file_size_limit_is_efbig_without_a_signal(void **state)
{
	assert_int_equal(run_child(create_with_small_files, *state), 0);
}

/* Without this capability RLIMIT_MEMLOCK applies to root too. */
static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -1;
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	return (int)syscall(SYS_capset, &header, data);
}

/* A sanitizer ignores mlockall(), because it maps very much memory itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_LOCK_ALL	false
#else
#define CAN_LOCK_ALL	true
#endif

/* Runs in a child that locks all memory that it will map. */
static int open_with_locked_memory(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool *pool;
	struct rlimit limit;
	char text[32];

	f->options.deadline_ns = 0;
	if (!CAN_LOCK_ALL || drop_ipc_lock() || getrlimit(RLIMIT_MEMLOCK, &limit))
		return CANNOT;
	limit.rlim_cur = limit.rlim_max < 16 * MIB ? limit.rlim_max : 16 * MIB;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || mlockall(MCL_FUTURE))
		return CANNOT;
	snprintf(text, sizeof(text), " %llu KiB:",
		 (unsigned long long)limit.rlim_cur >> 10);
	if (daxpin_pool_open(f->path, &f->options, &pool) != -ENOMEM)
		return 1;
	if (!strstr(f->errmsg, "mlockall(") || !strstr(f->errmsg, text))
		return 2;
	if (munlockall() || daxpin_pool_open(f->path, &f->options, &pool))
		return 3;
	return daxpin_pool_close(pool) ? 4 : 0;
}

static void locked_memory_beyond_the_limit_is_enomem_with_the_limit(void **state)
{
	in_child(*state, open_with_locked_memory, "memory cannot be locked here");
}

/* Runs in a child, as in a container whose filter does not know getrandom(). */
static int create_and_open_without_random(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool *pool;
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->path);
	f->options.deadline_ns = 0;
	if (forbid(SYS_getrandom, EPERM))
		return CANNOT;
	if (daxpin_pool_create(path, &f->options, &pool) != -ENOSYS)
		return 1;
	if (!strstr(f->errmsg, "getrandom") || !strstr(f->errmsg, "seccomp"))
		return 2;
	if (!access(path, F_OK))
		return 3;
	if (daxpin_pool_open(f->path, &f->options, &pool) != -ENOSYS)
		return 4;
	return strstr(f->errmsg, "getrandom") ? 0 : 5;
}

static void a_pool_that_needs_getrandom_is_enosys_with_a_sentence(void **state)
{
	in_child(*state, create_and_open_without_random, "seccomp is unavailable here");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(errmsg_is_new_after_a_failure_and_empty_after_success),
		TEST(errmsg_of_a_free_object_says_that_it_is_free),
		TEST(errmsg_of_an_object_names_the_state_that_it_should_have),
		TEST(errmsg_where_no_object_begins_says_so),
		TEST(errmsg_of_a_busy_object_names_the_root),
		TEST(errmsg_of_an_object_that_another_call_publishes),
		TEST(errmsg_of_an_object_twice_in_a_call_names_the_other),
		TEST(calls_for_extents_refuse_an_object),
		TEST(a_close_works_without_free_descriptors),
		TEST(an_open_pool_can_be_used_without_free_descriptors),
		TEST(a_pool_larger_than_the_address_space_limit_is_enomem),
		TEST(locked_memory_beyond_the_limit_is_enomem_with_the_limit),
		TEST(a_pool_that_needs_getrandom_is_enosys_with_a_sentence),
		TEST(a_create_above_the_file_size_limit_is_efbig_without_a_signal),
	};

	return cmocka_run_group_tests_name("api_errmsg", tests, NULL, NULL);
}
