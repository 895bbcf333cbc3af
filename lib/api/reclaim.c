/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_reclaim(3): giving free space back to the filesystem, and allocating it again.
 * The caller's mistakes are found here; reclaim/job.c does the work.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/handle.h"
#include "core/snapshot.h"
#include "os/os.h"
#include "util/cancel.h"

static int reclaim_check_options(const struct daxpin_job_options *user,
				 struct daxpin_job_options *ret_options)
{
	memset(ret_options, 0, sizeof(*ret_options));
	if (user)
		return DP_TAKE_OPTIONS(ret_options, user);
	*ret_options = (struct daxpin_job_options) {
		.size = sizeof(*ret_options), .segment = DAXPIN_ALL_SEGMENTS
	};
	return 0;
}

/* Refuse options that are invalid, and jobs that are impossible on this kind of
 * pool. */
static int reclaim_check_pool(const struct daxpin_pool *pool,
			      enum dp_job_kind kind,
			      const struct daxpin_job_options *options,
			      const struct dp_errmsg *errmsg)
{
	const struct dp_pool *media = &pool->media;
	bool zero = options->flags & DAXPIN_JOB_ZERO;

	if (options->flags & ~(DAXPIN_JOB_BLOCKING | DAXPIN_JOB_ZERO) ||
	    (zero && kind == DP_JOB_REFILL))
		return dp_fail(errmsg, -EINVAL, "flags 0x%x are unknown, or DAXPIN_JOB_ZERO with a refill",
			       options->flags);
	if (options->segment >= dp_pool_in_set(media) &&
	    options->segment != DAXPIN_ALL_SEGMENTS)
		return dp_fail(errmsg, -ENOENT, "there is no segment %u",
			       options->segment);
	if (media->readonly)
		return -EROFS;
	if (media->source.kind == DP_SOURCE_DEVDAX && !zero)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s is device-dax, which has no holes: there is nothing to give back, but DAXPIN_JOB_ZERO zeroes what is free",
			       media->source.path);
	/* On kernels from 6.15 a punch forgets which other pages of the file
	 * are dirty (kernel.md K12), so a later msync() would write nothing. */
	if (media->source.kind == DP_SOURCE_FSDAX &&
	    dp_persist_granularity(&media->persist) == DP_GRANULARITY_PAGE)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s is on a DAX filesystem and open with page granularity: punching it could lose what msync() has still to write; open it with cache line granularity",
			       media->source.path);
	return 0;
}

static struct daxpin_job *
reclaim_make_job(struct daxpin_pool *pool, enum dp_job_kind kind,
		 const struct daxpin_job_options *options)
{
	struct daxpin_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->pool = pool;
	job->jobs = &pool->jobs;
	job->kind = kind;
	job->budget = options->bytes ? options->bytes >> DP_CHUNK_SHIFT :
		      UINT64_MAX;
	job->keep_blocks = (options->keep_bytes >> DP_BLOCK_SHIFT) +
			   !!(options->keep_bytes % DP_BLOCK_SIZE);
	job->deadline_ns = options->deadline_ns;
	job->zero = pool->media.source.kind == DP_SOURCE_DEVDAX;
	return job;
}

/* Does the error mean that no ring can be created? -EAGAIN does: the kernel could not
 * create the ring's thread. -EMFILE and -ENFILE: there is no descriptor for it. */
static bool reclaim_is_refusal(int error)
{
	return error == -EPERM || error == -EACCES || error == -ENOSYS ||
	       error == -EOPNOTSUPP || error == -EAGAIN || error == -EMFILE ||
	       error == -ENFILE;
}

/* Begin the job. If no ring can be created, run it to its end in this thread, provided
 * that DAXPIN_JOB_BLOCKING allows that. */
static int reclaim_begin_job(struct daxpin_job *job,
			     const struct daxpin_job_options *options,
			     const struct dp_errmsg *errmsg)
{
	int ret = dp_job_begin(job, options->segment);

	if (!reclaim_is_refusal(ret))
		return ret;
	if (!(options->flags & DAXPIN_JOB_BLOCKING))
		return dp_fail(errmsg, -ENOSYS,
			       "io_uring, by which a punch can be given a deadline, is unavailable here (%s): allow it, or set DAXPIN_JOB_BLOCKING to wait in the calling thread for as long as memory is pinned",
			       strerror(-ret));
	job->blocking = true;
	return dp_job_begin(job, options->segment);
}

static int reclaim_make(struct daxpin_pool *pool, enum dp_job_kind kind,
			const struct daxpin_job_options *options,
			struct daxpin_job **ret_job)
{
	const struct dp_errmsg *errmsg = DP_ERRMSG_OF(options);
	int ret = reclaim_check_pool(pool, kind, options, errmsg);
	struct daxpin_job *job;

	if (ret)
		return ret;
	job = reclaim_make_job(pool, kind, options);
	if (!job)
		return -ENOMEM;
	ret = reclaim_begin_job(job, options, errmsg);
	if (ret) {
		free(job);
		return ret;
	}
	*ret_job = job;
	return 0;
}

static int reclaim_begin(struct daxpin_pool *pool, enum dp_job_kind kind,
			 const struct daxpin_job_options *user,
			 struct daxpin_job **ret_job)
{
	struct daxpin_job_options options;
	int ret = reclaim_check_options(user, &options);

	if (ret)
		return ret;
	ret = dp_enter(pool);
	if (!ret && !ret_job)
		ret = -EINVAL;
	if (!ret)
		ret = reclaim_make(pool, kind, &options, ret_job);
	if (!ret)
		dp_snapshot_update(pool);
	return dp_end_errmsg(DP_ERRMSG_OF(&options), ret, daxpin_strerror(ret));
}

DP_EXPORT int daxpin_reclaim(struct daxpin_pool *pool,
			     const struct daxpin_job_options *options,
			     struct daxpin_job **ret_job)
{
	DP_CANCEL_POINT();

	return reclaim_begin(pool, DP_JOB_RECLAIM, options, ret_job);
}

DP_EXPORT int daxpin_refill(struct daxpin_pool *pool,
			    const struct daxpin_job_options *options,
			    struct daxpin_job **ret_job)
{
	DP_CANCEL_POINT();

	return reclaim_begin(pool, DP_JOB_REFILL, options, ret_job);
}

DP_EXPORT int daxpin_job_wait(struct daxpin_job *job, uint64_t deadline_ns)
{
	DP_CANCEL_POINT();
	uint64_t step_ns = 50000;
	int ret = job ? dp_enter(job->pool) : -EINVAL;

	if (ret)
		return ret;
	for (;;) {
		dp_jobs_poll(job->jobs);
		dp_snapshot_update(job->pool);
		if (dp_job_is_over(job))
			return 0;
		if (dp_os_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		dp_os_sleep_ns(step_ns);
		step_ns = dp_min(step_ns * 2, 5000000);
	}
}

DP_EXPORT int daxpin_job_cancel(struct daxpin_job *job)
{
	DP_UNCANCELLED();
	int ret = job ? dp_enter(job->pool) : -EINVAL;

	if (!ret)
		dp_job_cancel(job);
	return ret;
}

DP_EXPORT int daxpin_job_report(struct daxpin_job *job,
				void (*fn)(const struct daxpin_job_part *part,
					   void *arg),
				void *arg, struct daxpin_job_summary *ret_summary)
{
	DP_UNCANCELLED();
	struct daxpin_job_summary summary;
	int ret = job ? dp_enter(job->pool) : -EINVAL;

	if (ret)
		return ret;
	if (!ret_summary || ret_summary->size < sizeof(size_t))
		return -EINVAL;
	dp_snapshot_update(job->pool);
	dp_job_report(job, fn, arg, &summary);
	summary.size = ret_summary->size;
	memcpy(ret_summary, &summary, dp_min(summary.size, sizeof(summary)));
	return 0;
}

DP_EXPORT int daxpin_job_end(struct daxpin_job *job)
{
	DP_UNCANCELLED();
	int ret;

	if (!job)
		return 0;
	ret = dp_enter(job->pool);
	if (ret)
		return ret;
	dp_jobs_poll(job->jobs);
	if (!dp_job_is_over(job))
		return -EBUSY;
	dp_job_end(job);
	return 0;
}
