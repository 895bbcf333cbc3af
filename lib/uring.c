/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libdaxpin-uring, on the public header alone.
 *
 * The owner lock is the first thing that goes into the ring and the last that
 * comes out: from before the first SQE to after the last CQE (LOCK 4, rows 4
 * and 10). Each request carries a hold of its own, so a buffer slot is only a
 * faster way to name memory, never what protects it: a slot is taken out when
 * no request that names it is in flight, which the adapter counts, and the kernel
 * is not asked whether it is idle (KERNEL 4: the answer differs by version).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <daxpin-uring.h>
#include "adapter.h"

/* A segment's slot. */
struct fixed {
	bool there;
	bool leaving;			/* no more requests by it */
	uint32_t in_flight;
};

struct daxpin_uring {
	struct daxpin_pool *pool;
	struct io_uring *ring;
	struct daxpin_registration *registration;
	char label[DAXPIN_LABEL_MAX];
	/* Of requests: what they do, and for which ring. */
	char read_label[DAXPIN_LABEL_MAX];
	char write_label[DAXPIN_LABEL_MAX];
	int file_slot;
	bool own_files;			/* the file table is ours to take out */
	bool own_buffers;		/* the table, a slot for each segment */
	struct fixed *fixed;		/* one for each segment */
	uint32_t fixed_segments;
	int fallback;
	uint32_t segments;
	uint64_t segment_size;
	uint64_t registered_bytes;
	uint64_t in_flight;
};

/* ------------------------------------------------------- lock in the ring */

/*
 * What the kernel shows of the table: "   2: NAME" for a slot in use, where the
 * name may be empty; "<none>" or no line at all for a free one. It shows nothing
 * while the ring is busy.
 */
static bool shows_file(FILE *fdinfo, int slot)
{
	bool in_table = false, ended = false, shown = false;
	char *line = NULL;
	size_t size = 0;
	int number;

	while (!ended && !shown && getline(&line, &size, fdinfo) > 0) {
		ended = !strncmp(line, "UserBufs:", 9);
		shown = in_table && !ended &&
			sscanf(line, " %d:", &number) == 1 &&
			number == slot && !strstr(line, ": <none>\n");
		in_table |= !strncmp(line, "UserFiles:", 10);
	}
	free(line);
	return shown;
}

/* An update would silently take the caller's file out of its slot. */
static bool is_taken(const struct io_uring *ring, int slot)
{
	char path[64];
	FILE *fdinfo;
	bool taken;

	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d",
		 ring->ring_fd);
	fdinfo = fopen(path, "re");
	if (!fdinfo)
		return false;		/* cannot be told: his to know */
	taken = shows_file(fdinfo, slot);
	fclose(fdinfo);
	return taken;
}

static int put_into_slot(struct daxpin_uring *uring, int fd,
			 const struct daxpin_uring_options *options)
{
	int ret;

	if (is_taken(uring->ring, uring->file_slot))
		return explain(options->why, options->why_size, -EBUSY,
			       "slot %d of the ring's file table is in use: name a free one in file_slot",
			       uring->file_slot);
	ret = io_uring_register_files_update(uring->ring, uring->file_slot,
					     &fd, 1);
	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

static int put_lock(struct daxpin_uring *uring,
		    const struct daxpin_uring_options *options)
{
	int fd = daxpin_lock_fd(uring->pool);
	int ret;

	uring->file_slot = options->file_slot;
	if (options->file_slot == DAXPIN_URING_OWN_FILES) {
		uring->file_slot = 0;
		ret = io_uring_register_files(uring->ring, &fd, 1);
		if (ret == -EBUSY)
			return explain(options->why, options->why_size, ret,
				    "the ring has a registered-file table already: name a free slot of it in file_slot");
		uring->own_files = !ret;
	} else {
		ret = put_into_slot(uring, fd, options);
		if (ret == -EBUSY)
			return ret;	/* and has said so */
	}
	if (ret)
		return explain(options->why, options->why_size, ret,
			    "the owner lock cannot go into slot %d of the ring's file table: %s",
			    uring->file_slot, strerror(-ret));
	return 0;
}

static int take_lock_out(struct daxpin_uring *uring)
{
	int none = -1, ret;

	if (uring->own_files)
		return io_uring_unregister_files(uring->ring);
	ret = io_uring_register_files_update(uring->ring, uring->file_slot,
					     &none, 1);
	return ret < 0 ? ret : 0;
}

/* ---------------------------------------------------------- fixed buffers */

static void describe_limit(const struct daxpin_uring_options *options,
			   uint64_t bytes, int error)
{
	struct rlimit limit;

	if (error != -ENOMEM || getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	explain(options->why, options->why_size, error,
	     "fixed buffers for the pool lock %llu KiB, RLIMIT_MEMLOCK is %llu KiB: raise it (ulimit -l), or attach with DAXPIN_URING_PLAIN",
	     (unsigned long long)bytes >> 10,
	     (unsigned long long)limit.rlim_cur >> 10);
}

/*
 * The pin is announced before it is taken, for a segment with holes must not
 * have one: the kernel would fill them in again (KERNEL 0.13).
 */
static bool announce_slot(struct daxpin_uring *uring, uint32_t index,
			  struct iovec *ret_iov)
{
	struct daxpin_segment segment;
	int ret;

	if (daxpin_registration_pin(uring->registration, index))
		return false;
	ret = daxpin_segment(uring->pool, index, &segment);
	assert(!ret);
	ret_iov->iov_base = segment.base;
	ret_iov->iov_len = segment.size;
	return true;
}

static void slot_is_there(struct daxpin_uring *uring, uint32_t index,
			  uint64_t bytes)
{
	uring->fixed[index].there = true;
	uring->fixed_segments++;
	uring->registered_bytes += bytes;
}

static void slot_is_gone(struct daxpin_uring *uring, uint32_t index)
{
	struct daxpin_segment segment;
	int ret = daxpin_segment(uring->pool, index, &segment);

	assert(!ret && uring->fixed[index].there);
	uring->fixed[index] = (struct fixed) { .there = false };
	uring->fixed_segments--;
	uring->registered_bytes -= segment.size;
	ret = daxpin_registration_revoked(uring->registration, index);
	assert(!ret);
}

/* A slot with nothing in it is a plain segment's. */
static int register_slots(struct daxpin_uring *uring, const struct iovec *iov,
			  const struct daxpin_uring_options *options)
{
	uint64_t bytes = 0;
	int ret = io_uring_register_buffers(uring->ring, iov, uring->segments);

	for (uint32_t i = 0; i < uring->segments; i++) {
		if (!iov[i].iov_len)
			continue;
		bytes += iov[i].iov_len;
		if (ret)
			daxpin_registration_revoked(uring->registration, i);
		else
			slot_is_there(uring, i, iov[i].iov_len);
	}
	describe_limit(options, bytes, ret);
	uring->own_buffers = !ret;
	return ret;
}

static int register_segments(struct daxpin_uring *uring,
			     const struct daxpin_uring_options *options)
{
	struct iovec *iov = calloc(uring->segments, sizeof(*iov));
	bool any = false;
	int ret = -EOPNOTSUPP;

	if (!iov)
		return -ENOMEM;
	for (uint32_t i = 0; i < uring->segments; i++)
		any |= announce_slot(uring, i, &iov[i]);
	if (any)
		ret = register_slots(uring, iov, options);
	free(iov);
	return ret;
}

/* What only tells that this backing or kernel has no fixed buffers. */
static bool is_not_supported(int error)
{
	return error == -EOPNOTSUPP || error == -EFAULT;
}

static int put_buffers(struct daxpin_uring *uring,
		       const struct daxpin_pool_info *info,
		       const struct daxpin_uring_options *options)
{
	int ret = -EOPNOTSUPP;

	if (options->flags & DAXPIN_URING_PLAIN)
		return 0;
	/* fsdax refuses long-term pins (KERNEL 0.1); read-only memory cannot
	 * be written. */
	if (info->source != DAXPIN_SOURCE_FSDAX &&
	    !(info->flags & DAXPIN_POOL_READONLY))
		ret = register_segments(uring, options);
	if (!ret)
		return 0;
	if (ret == -EBUSY)
		return explain(options->why, options->why_size, ret,
			    "the ring has a buffer table already: attach with DAXPIN_URING_PLAIN");
	if (!is_not_supported(ret))
		return ret;
	if (options->flags & DAXPIN_URING_NEED_FIXED)
		return explain(options->why, options->why_size, ret,
			    "no fixed buffers on this backing and kernel: leave out DAXPIN_URING_NEED_FIXED");
	uring->fallback = ret;
	return 0;
}

/* ------------------------------------------------------- attach and detach */

static int check_options(const struct daxpin_uring_options *options,
			 struct daxpin_uring_options *ret_copy)
{
	const uint32_t known = DAXPIN_URING_PLAIN | DAXPIN_URING_NEED_FIXED;
	int ret;

	memset(ret_copy, 0, sizeof(*ret_copy));
	ret_copy->file_slot = DAXPIN_URING_OWN_FILES;
	ret_copy->label = "io_uring";
	if (!options)
		return 0;
	ret = take_options(ret_copy, sizeof(*ret_copy), options);
	if (ret)
		return ret;
	if (!ret_copy->label)
		ret_copy->label = "io_uring";
	if (ret_copy->why && ret_copy->why_size)
		ret_copy->why[0] = '\0';
	if (ret_copy->flags & ~known || ret_copy->flags == known)
		return explain(ret_copy->why, ret_copy->why_size, -EINVAL,
			       "flags 0x%x make no sense", ret_copy->flags);
	if (ret_copy->file_slot < DAXPIN_URING_OWN_FILES)
		return explain(ret_copy->why, ret_copy->why_size, -EINVAL,
			       "there is no file slot %d", ret_copy->file_slot);
	return 0;
}

/* The operation first: a long label is cut at its end. */
static void name_requests(struct daxpin_uring *uring, const char *label)
{
	snprintf(uring->label, sizeof(uring->label), "%s", label);
	snprintf(uring->read_label, sizeof(uring->read_label), "read, %.56s",
		 uring->label);
	snprintf(uring->write_label, sizeof(uring->write_label), "write, %.56s",
		 uring->label);
}

/* The pool knows of the ring before the ring knows of the pool. */
static int announce(struct daxpin_uring *uring,
		    const struct daxpin_uring_options *options)
{
	struct daxpin_registration_options registration = {
		.size = sizeof(registration),
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
		.label = uring->label,
		.why = options->why,
		.why_size = options->why_size,
	};

	return daxpin_register(uring->pool, DAXPIN_ALL_SEGMENTS, &registration,
			       &uring->registration);
}

static int attach(struct daxpin_pool *pool, struct io_uring *ring,
		  const struct daxpin_uring_options *user_options, bool buffers,
		  struct daxpin_uring **ret_uring)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_uring_options options;
	struct daxpin_uring *uring;
	int ret;

	if (!ring || !ret_uring)
		return -EINVAL;
	ret = check_options(user_options, &options);
	if (!ret)
		ret = daxpin_pool_info(pool, &info);
	if (ret)
		return ret;
	uring = calloc(1, sizeof(*uring));
	if (uring)
		uring->fixed = calloc(info.segments, sizeof(*uring->fixed));
	if (!uring || !uring->fixed) {
		free(uring);
		return -ENOMEM;
	}
	uring->pool = pool;
	uring->ring = ring;
	uring->segments = info.segments;
	uring->segment_size = info.segment_size;
	name_requests(uring, options.label);
	ret = announce(uring, &options);
	if (ret)
		goto free;
	ret = put_lock(uring, &options);
	if (ret)
		goto unregister;
	if (buffers)
		ret = put_buffers(uring, &info, &options);
	if (ret)
		goto lock;
	*ret_uring = uring;
	return 0;
lock:
	take_lock_out(uring);
unregister:
	daxpin_unregister(uring->registration);
free:
	free(uring->fixed);
	free(uring);
	return ret;
}

EXPORT int daxpin_uring_attach(struct daxpin_pool *pool, struct io_uring *ring,
			       const struct daxpin_uring_options *options,
			       struct daxpin_uring **ret_uring)
{
	return attach(pool, ring, options, true, ret_uring);
}

EXPORT int daxpin_uring_guard(struct daxpin_pool *pool, struct io_uring *ring,
			      const struct daxpin_uring_options *options,
			      struct daxpin_uring **ret_uring)
{
	return attach(pool, ring, options, false, ret_uring);
}

EXPORT int daxpin_uring_info(const struct daxpin_uring *uring,
			     struct daxpin_uring_info *ret_info)
{
	if (!uring)
		return -EINVAL;
	return give_info(ret_info, &(struct daxpin_uring_info) {
		.fixed_segments = uring->fixed_segments,
		.plain_segments = uring->segments - uring->fixed_segments,
		.file_slot = uring->file_slot,
		.fallback = uring->fallback,
		.registered_bytes = uring->registered_bytes,
		.in_flight = uring->in_flight,
	}, sizeof(*ret_info));
}

EXPORT int daxpin_uring_detach(struct daxpin_uring *uring)
{
	int ret;

	if (!uring)
		return 0;
	ret = daxpin_pool_info(uring->pool, &(struct daxpin_pool_info) {
			       .size = sizeof(struct daxpin_pool_info) });
	if (ret)
		return ret;
	if (uring->in_flight)
		return -EBUSY;
	if (uring->own_buffers) {
		ret = io_uring_unregister_buffers(uring->ring);
		if (ret)
			return ret;
		uring->own_buffers = false;
	}
	ret = take_lock_out(uring);
	if (ret)
		return ret;
	ret = daxpin_unregister(uring->registration);
	assert(!ret);
	free(uring->fixed);
	free(uring);
	return 0;
}

/* ---------------------------------------------------------------- service */

/* Empty the slot, or fill it. */
static int update_slot(struct daxpin_uring *uring, uint32_t index,
		       const struct iovec *iov)
{
	__u64 no_tag = 0;
	int ret = io_uring_register_buffers_update_tag(uring->ring, index, iov,
						       &no_tag, 1);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

/* When its last request is done: nobody can name the segment any more. */
static int leave(struct daxpin_uring *uring, uint32_t index)
{
	static const struct iovec none;
	int ret;

	uring->fixed[index].leaving = true;
	if (uring->fixed[index].in_flight)
		return 0;
	ret = update_slot(uring, index, &none);
	if (!ret)
		slot_is_gone(uring, index);
	return ret;
}

static int come_back(struct daxpin_uring *uring, uint32_t index)
{
	struct iovec iov;
	int ret;

	if (!announce_slot(uring, index, &iov))
		return 0;
	ret = update_slot(uring, index, &iov);
	if (ret)
		daxpin_registration_revoked(uring->registration, index);
	else
		slot_is_there(uring, index, iov.iov_len);
	return ret;
}

EXPORT int daxpin_uring_service(struct daxpin_uring *uring)
{
	int ret = 0;

	if (!uring)
		return -EINVAL;
	if (!uring->own_buffers)
		return 0;
	for (uint32_t i = 0; !ret && daxpin_registration_wanted(
				uring->registration, &i) > 0; i++)
		ret = leave(uring, i);
	for (uint32_t i = 0; !ret && i < uring->segments &&
	     uring->fixed_segments < uring->segments; i++)
		if (!uring->fixed[i].there)
			ret = come_back(uring, i);
	return ret;
}

/* --------------------------------------------------------------- requests */

static int check_range(struct daxpin_uring *uring, struct daxpin_extent extent,
		       uint64_t offset, uint32_t length)
{
	uint64_t size;
	int ret = daxpin_size(uring->pool, extent, &size);

	if (ret)
		return ret;
	return !length || offset > size || length > size - offset ? -EINVAL : 0;
}

/* Hold, then look at the size: a held extent keeps it. */
static int begin(struct daxpin_uring *uring, struct daxpin_uring_io *io,
		 struct daxpin_extent extent, uint64_t offset, uint32_t length,
		 bool read)
{
	int ret;

	if (!uring || !io || io->uring)
		return -EINVAL;
	ret = daxpin_hold_labelled(uring->pool, extent,
				   read ? DAXPIN_HOLD_WRITE : DAXPIN_HOLD_READ,
				   read ? uring->read_label : uring->write_label,
				   &io->hold);
	if (ret)
		return ret;
	ret = check_range(uring, extent, offset, length);
	if (ret) {
		daxpin_drop_labelled(uring->pool, &io->hold);
		return ret;
	}
	io->uring = uring;
	io->fixed = -1;
	uring->in_flight++;
	return 0;
}

/* The slot that a request may name, and then it counts as its user; or -1. */
static int use_slot(struct daxpin_uring *uring, struct daxpin_extent extent)
{
	uint32_t index = extent.addr / uring->segment_size;
	struct fixed *fixed = &uring->fixed[index];

	if (!fixed->there || fixed->leaving)
		return -1;
	fixed->in_flight++;
	return index;
}

static int prep(struct daxpin_uring *uring, struct daxpin_uring_io *io,
		struct io_uring_sqe *sqe, int fd, struct daxpin_extent extent,
		uint64_t offset, uint32_t length, uint64_t file_offset,
		bool read)
{
	void *at;
	int ret;

	if (!sqe)
		return -EINVAL;
	io_uring_prep_nop(sqe);
	ret = begin(uring, io, extent, offset, length, read);
	if (ret)
		return ret;
	at = daxpin_ptr(uring->pool, extent, offset);
	assert(at);
	io->fixed = use_slot(uring, extent);
	if (io->fixed >= 0 && read) {
		io_uring_prep_read_fixed(sqe, fd, at, length, file_offset,
					 io->fixed);
	} else if (io->fixed >= 0) {
		io_uring_prep_write_fixed(sqe, fd, at, length, file_offset,
					  io->fixed);
	} else if (read) {
		io_uring_prep_read(sqe, fd, at, length, file_offset);
	} else {
		io_uring_prep_write(sqe, fd, at, length, file_offset);
	}
	return 0;
}

EXPORT int daxpin_uring_prep_read(struct daxpin_uring *uring,
				  struct daxpin_uring_io *io,
				  struct io_uring_sqe *sqe, int fd,
				  struct daxpin_extent extent, uint64_t offset,
				  uint32_t length, uint64_t file_offset)
{
	return prep(uring, io, sqe, fd, extent, offset, length, file_offset,
		    true);
}

EXPORT int daxpin_uring_prep_write(struct daxpin_uring *uring,
				   struct daxpin_uring_io *io,
				   struct io_uring_sqe *sqe, int fd,
				   struct daxpin_extent extent, uint64_t offset,
				   uint32_t length, uint64_t file_offset)
{
	return prep(uring, io, sqe, fd, extent, offset, length, file_offset,
		    false);
}

/* The last request of a slot that is asked back gives it back. */
static void release_slot(struct daxpin_uring *uring, int index)
{
	struct fixed *fixed = &uring->fixed[index];

	assert(fixed->in_flight);
	fixed->in_flight--;
	/* What fails here is tried again by the next service call. */
	if (fixed->leaving && !fixed->in_flight && leave(uring, index))
		fixed->leaving = false;
}

/* The request is over, or never was. */
static int end(struct daxpin_uring_io *io)
{
	struct daxpin_uring *uring = io->uring;
	int ret = daxpin_drop_labelled(uring->pool, &io->hold);

	if (ret)
		return ret;
	assert(uring->in_flight);
	uring->in_flight--;
	if (io->fixed >= 0)
		release_slot(uring, io->fixed);
	io->uring = NULL;
	return 0;
}

EXPORT int daxpin_uring_done(struct daxpin_uring_io *io,
			     const struct io_uring_cqe *cqe)
{
	int ret;

	if (!io || !io->uring || !cqe)
		return -EINVAL;
	if (cqe->flags & IORING_CQE_F_MORE)
		return 0;
	ret = end(io);
	return ret ? ret : 1;
}

EXPORT int daxpin_uring_abort(struct daxpin_uring_io *io)
{
	return io && io->uring ? end(io) : -EINVAL;
}
