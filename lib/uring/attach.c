/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libdaxpin-uring, which uses the public header only. Owns struct daxpin_uring:
 * attaching a ring. The modules are buffer_slots.c (fixed buffers), prep.c
 * (requests), end.c (detach and abandon) and register.c (calls about the ring).
 *
 *	- -> registered -> locked -> attached	[attach_join], undone in the
 *						opposite order on failure
 *
 * What keeps the pool locked is put into the ring first and taken out last: from
 * before the first SQE to after the last CQE (kernel.md K24). It is three
 * consecutive files: the first segment's, whose lock identifies the lock holder; the
 * anchor, a socket that keeps all files of the pool open and locked (W3); and the write
 * end of a pipe that belongs to this ring.
 */
#include <stdlib.h>
#include "uring/buffer_slots.h"
#include "uring/end.h"
#include "util/cancel.h"

/* ------------------------------------------------------ locks in the ring */

static int attach_refuse_files(const struct daxpin_uring *uring,
			       const struct daxpin_uring_options *options,
			       int error)
{
	if (error == -EEXIST)
		return dp_fail(DP_ERRMSG_OF(options), error,
			    "the ring belongs to another thread (IORING_SETUP_SINGLE_ISSUER): attach and detach there");
	if (error == -EACCES)
		return dp_fail(DP_ERRMSG_OF(options), error,
			       "the ring has restrictions (IORING_REGISTER_RESTRICTIONS) that forbid changes of its tables: attach before io_uring_enable_rings(), or allow IORING_REGISTER_FILES, IORING_REGISTER_FILES_UPDATE and IORING_UNREGISTER_FILES, and without DAXPIN_URING_PLAIN those of buffers");
	if (error == -EINVAL)
		return dp_fail(DP_ERRMSG_OF(options), error,
			       "the ring's file table must have %u slots from slot %u on, %u in all, and has fewer",
			       DAXPIN_URING_FILES, uring->file_slot,
			       uring->file_slot + DAXPIN_URING_FILES);
	if (error == -EMFILE)
		return dp_fail(DP_ERRMSG_OF(options), error,
			       "a ring's file table counts against RLIMIT_NOFILE, and %u files for it do not fit: raise the limit (ulimit -n; systemd: LimitNOFILE=)",
			       DAXPIN_URING_FILES);
	return dp_fail(DP_ERRMSG_OF(options), error,
		       "the files that keep the pool locked cannot be put into slot %u of the ring's file table and the %u after it: %s",
		       uring->file_slot, DAXPIN_URING_FILES - 1,
		       strerror(-error));
}

/* Refuse slots in use: an update would silently remove the file of the program. */
static int attach_put_into_slots(struct daxpin_uring *uring, const int *fd,
				 const struct daxpin_uring_options *options)
{
	int ret = dp_uring_taken_file(&uring->link, uring->file_slot,
				      DAXPIN_URING_FILES);

	if (ret >= 0)
		return dp_fail(DP_ERRMSG_OF(options), -EBUSY,
			       "slot %d of the ring's file table is in use: name the first of %u free ones in file_slot",
			       ret, DAXPIN_URING_FILES);
	if (ret != -ENOENT)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "/proc, which shows the free slots of the ring's file table, cannot be read: %s",
			       strerror(-ret));
	ret = dp_uring_put_files(&uring->link, uring->file_slot, fd,
				 DAXPIN_URING_FILES);
	return ret ? attach_refuse_files(uring, options, ret) : 0;
}

static int attach_put_files(struct daxpin_uring *uring, const int *fd,
			    const struct daxpin_uring_options *options)
{
	int ret;

	uring->file_slot = options->file_slot;
	if (options->flags & DAXPIN_URING_FILE_SLOT)
		return attach_put_into_slots(uring, fd, options);
	ret = dp_uring_make_files(&uring->link, fd, DAXPIN_URING_FILES);
	if (ret == -EBUSY)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring has a registered-file table already: name the first of %u free slots of it in file_slot, and set DAXPIN_URING_FILE_SLOT",
			       DAXPIN_URING_FILES);
	if (ret)
		return attach_refuse_files(uring, options, ret);
	uring->own_files = true;
	return 0;
}

/* After this the only write end of the pipe is the one in the ring's file table. So the
 * pipe hangs up when the table is emptied, or when the kernel frees the ring, after its
 * last request. */
static int attach_put_lock(struct daxpin_uring *uring,
			   const struct daxpin_uring_options *options)
{
	int fd[DAXPIN_URING_FILES] = {
		daxpin_lock_fd(uring->pool), daxpin_anchor_fd(uring->pool), -1
	};
	int ends[2], ret;

	if (fd[0] < 0 || fd[1] < 0)
		return fd[0] < 0 ? fd[0] : fd[1];
	ret = dp_uring_pipe(ends);
	if (ret)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "no pipe for the ring, which takes two descriptors: %s%s",
			       strerror(-ret), ret == -EMFILE ?
			       " (RLIMIT_NOFILE); raise it with ulimit -n" : "");
	fd[2] = ends[1];
	ret = attach_put_files(uring, fd, options);
	dp_uring_close(ends[1]);
	if (ret)
		dp_uring_close(ends[0]);
	else
		uring->pipe = ends[0];
	return ret;
}

/* ----------------------------------------------------------------- options */

static int attach_check_flags(const struct daxpin_uring_options *options,
			      bool guard)
{
	const uint32_t plain = DAXPIN_URING_PLAIN | DAXPIN_URING_NO_BUFFERS;
	const uint32_t fixed = DAXPIN_URING_NEED_FIXED | DAXPIN_URING_EAGER |
			       DAXPIN_URING_BUFFER_RANGE |
			       DAXPIN_URING_PREPARED;
	uint32_t flags = options->flags;

	if (flags & ~(plain | fixed | DAXPIN_URING_FILE_SLOT) ||
	    (flags & plain && flags & fixed))
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "flags 0x%x are unknown, or combine DAXPIN_URING_PLAIN with flags of fixed buffers", flags);
	if (guard && flags & fixed)
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "flags 0x%x are about fixed buffers, and a guard registers none: use daxpin_uring_attach()",
			       flags & fixed);
	if (!guard && flags & DAXPIN_URING_NO_BUFFERS)
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "DAXPIN_URING_NO_BUFFERS is for daxpin_uring_guard(): DAXPIN_URING_PLAIN attaches a ring without fixed buffers");
	if (!(flags & DAXPIN_URING_FILE_SLOT) && options->file_slot)
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "file_slot %u is only used with DAXPIN_URING_FILE_SLOT: set the flag, or leave file_slot 0",
			       options->file_slot);
	return 0;
}

static int
attach_check_buffer_options(const struct daxpin_uring_options *options)
{
	bool is_range = options->flags & DAXPIN_URING_BUFFER_RANGE;

	if (is_range && (!options->buffer_slots ||
			 options->buffer_slot >= DAXPIN_URING_SLOTS_MAX ||
			 options->buffer_slots > DAXPIN_URING_SLOTS_MAX -
						 options->buffer_slot))
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "%u buffer slots from %u on are no range",
			       options->buffer_slots, options->buffer_slot);
	if (!is_range && options->buffer_slot)
		return dp_fail(DP_ERRMSG_OF(options), -EINVAL,
			       "buffer_slot is only used with DAXPIN_URING_BUFFER_RANGE: set the flag, or leave buffer_slot 0");
	return 0;
}

static int attach_check_options(const struct daxpin_uring_options *options,
				bool guard,
				struct daxpin_uring_options *ret_copy)
{
	int ret;

	memset(ret_copy, 0, sizeof(*ret_copy));
	ret_copy->label = "io_uring";
	if (!options)
		return 0;
	ret = DP_TAKE_OPTIONS(ret_copy, options);
	if (ret)
		return ret;
	if (!ret_copy->label)
		ret_copy->label = "io_uring";
	ret = attach_check_flags(ret_copy, guard);
	return ret ? ret : attach_check_buffer_options(ret_copy);
}

/* ------------------------------------------------------------------ attach */

/* Make the labels of requests. The operation comes first, because a label that is too
 * long loses its end. */
static void attach_name_requests(struct daxpin_uring *uring, const char *label)
{
	const struct {
		char *at;
		const char *verb;
	} names[] = {
		{ uring->read_label, "read" }, { uring->write_label, "write" },
		{ uring->send_label, "send" },
		{ uring->command_label, "command" },
	};

	snprintf(uring->label, sizeof(uring->label), "%s", label);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		snprintf(names[i].at, DAXPIN_LABEL_MAX, "%s, %.54s",
			 names[i].verb, uring->label);
}

/* Its address identifies the registrations of rings. */
static const char attach_maker;

/*
 * The ring is registered with the pool before anything is registered with the ring.
 * The adapter does not know what the program registers as buffers of a guarded ring,
 * so a guard counts as a pin of every segment (C12).
 */
static int attach_register_ring(struct daxpin_uring *uring,
				const struct daxpin_uring_options *options)
{
	struct daxpin_registration_options registration = {
		.size = sizeof(registration),
		.flags = uring->has_own_buffers ? 0 :
			 DAXPIN_REGISTRATION_BY_SEGMENT,
		.label = uring->label,
		.maker = &attach_maker,
		.maker_arg = uring,
		.errmsg = options->errmsg,
		.errmsg_size = options->errmsg_size,
	};

	return daxpin_register(uring->pool, DAXPIN_ALL_SEGMENTS, &registration,
			       &uring->registration);
}

/* fsdax refuses long-term pins (kernel.md K1); read-only memory cannot be
 * written. The rest is tried. */
static bool attach_can_be_fixed(const struct daxpin_pool_info *info)
{
	return info->source != DAXPIN_SOURCE_FSDAX &&
	       !(info->flags & DAXPIN_POOL_READONLY);
}

static uint64_t attach_sum_of_segments(struct daxpin_pool *pool,
				       uint32_t segments)
{
	struct daxpin_segment segment;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < segments; i++)
		if (!daxpin_segment(pool, i, &segment))
			bytes += segment.size;
	return bytes;
}

static struct daxpin_uring *
attach_make_uring(struct daxpin_pool *pool, const struct daxpin_pool_info *info,
		  const struct daxpin_uring_options *options)
{
	struct daxpin_uring *uring = calloc(1, sizeof(*uring));

	if (!uring)
		return NULL;
	uring->pool = pool;
	uring->pipe = -1;
	assert(__builtin_popcountll(info->segment_size) == 1);
	uring->segment_shift = __builtin_ctzll(info->segment_size);
	uring->segments = info->segments;
	/* A segment may be short, so this is rounded up. */
	uring->most = dp_min(UINT32_MAX, dp_round_up(info->max_bytes,
						     info->segment_size) >>
					 uring->segment_shift);
	assert(uring->most >= uring->segments);
	uring->needed_bytes = attach_sum_of_segments(pool, info->segments);
	attach_name_requests(uring, options->label);
	return uring;
}

/* Register the ring with the pool, put the locks into it, then open the buffer table. A
 * detach undoes these steps in the opposite order. */
static int attach_join(struct daxpin_uring *uring, bool can_be_fixed,
		       const struct daxpin_uring_options *options)
{
	int ret = attach_register_ring(uring, options);

	if (ret)
		return ret;
	ret = attach_put_lock(uring, options);
	if (ret)
		goto unregister;
	ret = dp_uring_table_open(uring, can_be_fixed, options);
	if (!ret)
		return 0;
	/* Files that cannot be taken out remain in the ring until it is freed. */
	if (dp_uring_remove_lock(uring))
		dp_uring_close(uring->pipe);
unregister:
	daxpin_unregister(uring->registration);
	return ret;
}

/* If a restricted ring refuses the question, the operations count as missing. */
static int attach_probe_requests(struct daxpin_uring *uring)
{
	int vectors = dp_uring_supports(&uring->link, DP_URING_OP_READV_FIXED);
	int send_zc = dp_uring_supports(&uring->link, IORING_OP_SEND_ZC);

	uring->has_vectors = vectors > 0;
	uring->has_send_zc = send_zc > 0;
	return vectors < 0 ? vectors : send_zc < 0 ? send_zc : 0;
}

static int attach_make_and_join(struct daxpin_pool *pool, struct io_uring *ring,
				const struct daxpin_uring_options *options,
				bool guard, struct daxpin_uring **ret_uring)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_uring *uring;
	int ret = daxpin_pool_info(pool, &info);

	if (ret)
		return ret;
	uring = attach_make_uring(pool, &info, options);
	if (!uring)
		return -ENOMEM;
	uring->has_own_buffers =
		guard && !(options->flags & DAXPIN_URING_NO_BUFFERS);
	ret = dp_uring_link(ring, &uring->link);
	if (ret) {
		free(uring);
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring's descriptor cannot be duplicated: %s",
			       strerror(-ret));
	}
	ret = attach_probe_requests(uring);
	if (!ret)
		ret = attach_join(uring, attach_can_be_fixed(&info), options);
	if (!ret) {
		*ret_uring = uring;
		return 0;
	}
	dp_uring_tear_down(uring);
	free(uring);
	return ret;
}

static int attach_ring(struct daxpin_pool *pool, struct io_uring *ring,
		       const struct daxpin_uring_options *user_options,
		       bool guard, struct daxpin_uring **ret_uring)
{
	struct daxpin_uring_options options;
	int ret = attach_check_options(user_options, guard, &options);

	if (ret)
		return ret;
	if (guard)
		options.flags |= DAXPIN_URING_PLAIN;
	ret = ring && ret_uring ?
	      attach_make_and_join(pool, ring, &options, guard, ret_uring) :
	      -EINVAL;
	return dp_end_errmsg(DP_ERRMSG_OF(&options), ret, daxpin_strerror(ret));
}

DP_EXPORT int daxpin_uring_attach(struct daxpin_pool *pool,
				  struct io_uring *ring,
				  const struct daxpin_uring_options *options,
				  struct daxpin_uring **ret_uring)
{
	DP_UNCANCELLED();

	return attach_ring(pool, ring, options, false, ret_uring);
}

DP_EXPORT int daxpin_uring_guard(struct daxpin_pool *pool,
				 struct io_uring *ring,
				 const struct daxpin_uring_options *options,
				 struct daxpin_uring **ret_uring)
{
	DP_UNCANCELLED();

	return attach_ring(pool, ring, options, true, ret_uring);
}

DP_EXPORT int daxpin_uring_info(const struct daxpin_uring *uring,
				struct daxpin_uring_info *ret_info)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };
	int ret = dp_uring_enter(uring);

	if (ret)
		return ret;
	dp_uring_table_info(uring, &info);
	info.file_slot = uring->file_slot;
	info.in_flight = dp_uring_in_flight(uring);
	dp_uring_end_info(uring, &info);
	info.needed_bytes = uring->needed_bytes;
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_uring_service(struct daxpin_uring *uring)
{
	DP_UNCANCELLED();
	int ret = dp_uring_enter_ring(uring);

	if (ret)
		return ret;
	ret = dp_uring_table_service(uring);
	dp_uring_table_fill_on_demand(uring);
	return ret;
}

static bool attach_is_all(struct daxpin_extent extent)
{
	return !extent.addr && !extent.gen;
}

DP_EXPORT int daxpin_uring_prepare(struct daxpin_uring *uring,
				   struct daxpin_extent extent)
{
	DP_UNCANCELLED();
	enum daxpin_state state;
	int ret = dp_uring_enter_ring(uring);

	if (ret)
		return ret;
	if (attach_is_all(extent))
		return dp_uring_table_prepare_all(uring);
	ret = daxpin_state(uring->pool, extent, &state);
	return ret ? ret : dp_uring_table_prepare(
				   uring, extent.addr >> uring->segment_shift);
}

DP_EXPORT struct daxpin_uring *daxpin_uring_of(const struct daxpin_event *event)
{
	if (!event || event->type != DAXPIN_EVENT_REVOKE)
		return NULL;
	return daxpin_registration_arg(event->registration, &attach_maker);
}
