/* SPDX-License-Identifier: BSD-3-Clause */
#include "uring_fixture.h"
#include "memlock.h"
#include "needs.h"
#include "shm.h"

enum target target;

int name_target(const struct world *w, struct fixture *f)
{
	const char *fsdax = getenv("DAXPIN_TEST_FSDAX");

	if (target == DEVDAX) {
		snprintf(f->path, sizeof(f->path), "%s", getenv("DAXPIN_TEST_DAX"));
		f->options.pool_size = 0;
		f->options.segment_size = w->segment_size ? w->segment_size :
					  DAXPIN_SEGMENT_DEFAULT;
		return 0;
	}
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX",
		 target == FSDAX ? fsdax : shm_directory());
	f->options.pool_size = w->pool_size ? w->pool_size : 64 << 20;
	f->options.segment_size = 32 << 20;
	return mkdtemp(f->path) ? 0 : -1;
}

int create_pool(struct world *w)
{
	struct fixture *f = &w->f;

	f->options.size = sizeof(f->options);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.deadline_ns = daxpin_deadline_ms(600000);
	f->options.errmsg = f->errmsg;
	f->options.errmsg_size = sizeof(f->errmsg);
	if (name_target(w, f))
		return -1;
	if (!daxpin_pool_create(f->path, &f->options, &f->pool))
		return 0;
	fprintf(stderr, "%s\n", f->errmsg);
	return -1;
}

void remove_pool(struct fixture *f)
{
	if (target != DEVDAX)
		nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int setup_sized(void **state, uint64_t pool_size, uint64_t segment_size)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	if (!w)
		return -1;
	w->pool_size = pool_size;
	w->segment_size = segment_size;
	if (create_pool(w) || pipe(w->pipe))
		return -1;
	return io_uring_queue_init(8, &w->ring, 0);
}

int setup(void **state)
{
	return setup_sized(state, 0, 0);
}

int teardown(void **state)
{
	struct world *w = *state;
	int ret = daxpin_uring_detach(w->uring);

	io_uring_queue_exit(&w->ring);
	ret |= daxpin_pool_close(w->f.pool);
	close(w->pipe[0]);
	close(w->pipe[1]);
	remove_pool(&w->f);
	free(w);
	return ret;
}

struct daxpin_uring_options uring_options(struct world *w, uint32_t flags)
{
	return (struct daxpin_uring_options) {
		.size = sizeof(struct daxpin_uring_options),
		.flags = flags,
		.label = "test ring",
		.errmsg = w->f.errmsg,
		.errmsg_size = sizeof(w->f.errmsg),
	};
}

int attach(struct world *w, uint32_t flags)
{
	struct daxpin_uring_options options = uring_options(w, flags);

	return daxpin_uring_attach(w->f.pool, &w->ring, &options, &w->uring);
}

void submit_one(struct world *w)
{
	int ret = io_uring_submit(&w->ring);

	assert_true(ret == 1 || (w->ring.flags & IORING_SETUP_SQPOLL && ret > 0));
}

void start_read(struct world *w, struct daxpin_uring_io *io,
		struct daxpin_extent extent)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	assert_int_equal(daxpin_uring_prep_read(w->uring, io, sqe, w->pipe[0],
						extent, 0, 4096, 0), 0);
	submit_one(w);
}

void fix(struct world *w, struct daxpin_extent extent)
{
	assert_int_equal(daxpin_uring_prepare(w->uring, extent),
			 target == FSDAX ? -EOPNOTSUPP : 0);
}

void need_fixed_buffers(struct world *w)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t bytes;

	assert_int_equal(daxpin_pool_info(w->f.pool, &info), 0);
	bytes = info.media_bytes + (64 << 20);
	if (can_lock(bytes))
		return;
	print_message("# skipped: RLIMIT_MEMLOCK of %llu KiB is too little to register %llu KiB\n",
		      memlock_kib(), (unsigned long long)bytes / 1024);
	skip();
}

void need_reclaimable_buffers(struct world *w)
{
	need_fixed_buffers(w);
	if (target == SHMEM)
		return;
	print_message("# skipped: device-dax has no punch, fsdax no fixed buffers\n");
	skip();
}

struct daxpin_job *begin_reclaim(struct world *w, uint32_t segment)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = segment,
		.deadline_ns = daxpin_deadline_ms(600000),
	};
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(w->f.pool, &options, &job), 0);
	return job;
}

void end_reclaim(struct daxpin_job *job)
{
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(600000)), 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

void refill(struct world *w, uint32_t segment)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = segment,
		.deadline_ns = daxpin_deadline_ms(600000),
	};
	struct daxpin_job *job;

	assert_int_equal(daxpin_refill(w->f.pool, &options, &job), 0);
	end_reclaim(job);
}

int finish(struct world *w, struct daxpin_uring_io *io)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	result = cqe->res;
	assert_int_equal(daxpin_uring_done(io, cqe), 1);
	io_uring_cqe_seen(&w->ring, cqe);
	return result;
}

void colour(struct world *w, struct daxpin_extent extent, size_t length,
	    unsigned char byte)
{
	memset(daxpin_ptr(w->f.pool, extent, 0), byte, length);
}

bool has_colour(struct world *w, struct daxpin_extent extent, size_t length,
		unsigned char byte)
{
	const unsigned char *memory = daxpin_ptr(w->f.pool, extent, 0);

	for (size_t i = 0; i < length; i++)
		if (memory[i] != byte)
			return false;
	return true;
}

struct daxpin_uring_info info_of(struct daxpin_uring *uring)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_uring_info(uring, &info), 0);
	return info;
}

int skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	return 0;
}

bool choose_target(const char *which)
{
	if (skip_all_without_io_uring())
		return false;
	if (!strcmp(which, "devdax"))
		target = DEVDAX;
	if (!strcmp(which, "fsdax"))
		target = FSDAX;
	if (target == DEVDAX && !getenv("DAXPIN_TEST_DAX"))
		return skip_all("needs DAXPIN_TEST_DAX, a device-dax node");
	if (target == FSDAX && !getenv("DAXPIN_TEST_FSDAX"))
		return skip_all("needs DAXPIN_TEST_FSDAX, a DAX directory");
	return true;
}

int scratch_file(void)
{
	char path[] = "/tmp/daxpin-file-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}
