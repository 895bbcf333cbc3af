/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/options.h"
#include "os/os.h"
#include "owner/owner.h"

#define NEW_FILE_MODE	0600u
/* A pool needs this many descriptors besides one for each segment: for the directory,
 * the anchor, the eventfd, rings, and files that are open only during a call. */
#define SPARE		16u
/* Flags that every call accepts. */
#define ALWAYS		(DAXPIN_POOL_ANY_OWNER | DAXPIN_POOL_ANY_FILESYSTEM)

static const char *options_waits_for(enum dp_owner_state owner)
{
	switch (owner) {
	case DP_OWNER_ALIVE:
		return "waits for the process that has the pool open";
	case DP_OWNER_DRAINING:
		return "waits for I/O of the pool's dead owner";
	case DP_OWNER_RDMA:
		return "waits for RDMA of the pool's dead owner";
	case DP_OWNER_PINNED:
		return "waits until no memory of the pool's files is pinned";
	case DP_OWNER_KEPT:
		return "waits for the process that keeps the lock of the pool's dead owner";
	case DP_OWNER_NONE:
		return "allocates blocks, or reads memory that may be blank";
	default:
		return "waits for the pool's lock, whose holder is unknown";
	}
}

static void options_log_wait(struct dp_options_progress *progress,
			     const struct dp_wait *wait)
{
	if (progress->logged == wait->owner)
		return;
	progress->logged = wait->owner;
	if (wait->pid)
		dp_log_write(progress->log, progress->path, "%s (process %d)",
			     options_waits_for(wait->owner), wait->pid);
	else
		dp_log_write(progress->log, progress->path, "%s",
			     options_waits_for(wait->owner));
}

static int options_pass_progress(const struct dp_wait *from, void *arg)
{
	struct dp_options_progress *progress = arg;
	struct daxpin_wait wait = {
		.size = sizeof(wait),
		.owner = (enum daxpin_owner)from->owner,
		.pid = from->pid,
		.waited_ns = from->waited_ns,
		.done_bytes = from->done_bytes,
		.total_bytes = from->total_bytes,
	};

	options_log_wait(progress, from);
	return progress->fn ? progress->fn(&wait, progress->arg) : 0;
}

static int options_copy(const struct daxpin_pool_options *options,
			uint32_t flags, struct daxpin_pool_options *ret_copy)
{
	struct dp_errmsg errmsg;
	int ret;

	memset(ret_copy, 0, sizeof(*ret_copy));
	if (!options)
		return 0;
	ret = DP_TAKE_OPTIONS(ret_copy, options);
	if (ret)
		return ret;
	errmsg = *DP_ERRMSG_OF(ret_copy);
	if (ret_copy->mode &&
	    (ret_copy->mode & ~0775u || (ret_copy->mode & 0600) != 0600))
		return dp_fail(&errmsg, -EINVAL,
			       "options.mode 0%o: new files take permission bits alone, with both of the owner's (0600), and not for others to write (0002)",
			       ret_copy->mode);
	if (ret_copy->flags & ~(flags | ALWAYS))
		return dp_fail(&errmsg, -EINVAL,
			       "flags 0x%x are not for this call",
			       ret_copy->flags & ~(flags | ALWAYS));
	return 0;
}

static void options_fill_request(struct dp_options *options, const char *path)
{
	const struct daxpin_pool_options *copy = &options->copy;

	options->request = (struct dp_pool_request) {
		.path = path,
		.readonly = copy->flags & DAXPIN_POOL_READONLY,
		.degraded = copy->flags & DAXPIN_POOL_DEGRADED,
		.create = copy->flags & DAXPIN_POOL_CREATE,
		.overwrite = copy->flags & DAXPIN_POOL_OVERWRITE,
		.despite_rdma =
			copy->flags & DAXPIN_POOL_DESPITE_RDMA,
		.any_node = copy->flags & DAXPIN_POOL_ANY_NODE,
		.any_owner = copy->flags & DAXPIN_POOL_ANY_OWNER,
		.any_filesystem = copy->flags & DAXPIN_POOL_ANY_FILESYSTEM,
		.mode = copy->mode ? copy->mode : NEW_FILE_MODE,
		.adopt = copy->flags & DAXPIN_POOL_ADOPT,
		.need_flushed = copy->flags & DAXPIN_POOL_NEED_FLUSHED,
		.granularity = copy->granularity,
		.pool_size = copy->pool_size,
		.segment_size = copy->segment_size,
		.max_size = copy->max_size,
		.policy = {
			.deadline_ns = copy->deadline_ns,
			.progress = copy->progress || copy->log ?
				    options_pass_progress : NULL,
			.arg = &options->progress,
		},
		.errmsg = &options->errmsg,
	};
	memcpy(options->request.uuid, copy->uuid, sizeof(copy->uuid));
}

int dp_options_take(struct dp_options *options, const char *path,
		    const struct daxpin_pool_options *user, uint32_t flags)
{
	struct daxpin_pool_options *copy = &options->copy;
	int ret = options_copy(user, flags, copy);

	if (ret)
		return ret;
	options->errmsg = *DP_ERRMSG_OF(copy);
	if (!path)
		return dp_fail(&options->errmsg, -EINVAL, "no path");
	options->log = (struct dp_log) { copy->log, copy->log_arg };
	options->progress = (struct dp_options_progress) {
		.fn = copy->progress, .arg = copy->progress_arg,
		.log = &options->log, .path = path,
	};
	options_fill_request(options, path);
	return 0;
}

/* The message is the same for every file that could not be opened: it has the number of
 * descriptors that the whole pool needs. */
static int options_no_descriptor(const struct dp_pool_request *request)
{
	return dp_fail(request->errmsg, -EMFILE,
		       "%s: this process has no descriptor left: RLIMIT_NOFILE is %llu, and a pool of %u segments needs %u besides what the program has open: raise the limit (ulimit -n; systemd: LimitNOFILE=)",
		       request->path,
		       (unsigned long long)dp_os_descriptor_limit(),
		       request->segments, request->segments + SPARE);
}

/* No file of a pool is larger than a segment. */
static int options_file_too_large(const struct dp_pool_request *request)
{
	return dp_fail(request->errmsg, -EFBIG,
		       "%s: RLIMIT_FSIZE lets a file of this process have %llu bytes, and one of a pool's has up to segment_size, %llu: raise the limit (ulimit -f; systemd: LimitFSIZE=), or choose smaller segments",
		       request->path,
		       (unsigned long long)dp_os_limit(DP_LIMIT_FILE_SIZE),
		       (unsigned long long)request->segment_size);
}

int dp_options_end(const struct dp_options *options, int ret)
{
	const struct daxpin_pool_options *copy = &options->copy;

	if (ret == -EMFILE)
		return options_no_descriptor(&options->request);
	if (ret == -EFBIG && options->request.segment_size &&
	    dp_os_limit(DP_LIMIT_FILE_SIZE) != UINT64_MAX)
		return options_file_too_large(&options->request);
	if (ret < 0 && copy->errmsg && copy->errmsg_size && !copy->errmsg[0])
		dp_fail(&options->errmsg, ret, "%s: %s (%s)",
			options->request.path, strerror(-ret),
			daxpin_strerror(ret));
	return dp_end_errmsg(&options->errmsg, ret, daxpin_strerror(ret));
}
