/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_publish(3): publishing, and roots. The caller's mistakes are found here;
 * core/publish.c makes the operations durable.
 */
#include <errno.h>
#include "core/publish.h"
#include "util/cancel.h"

/* Is it a name that a root can have? */
static int publish_check_name(const char *name)
{
	size_t length = name ? strnlen(name, DP_ROOT_NAME_MAX) : 0;

	if (!length)
		return -EINVAL;
	return length < DP_ROOT_NAME_MAX ? 0 : -ENAMETOOLONG;
}

/* Fields that the type does not use must be zero: they may get a meaning. */
static int publish_check_op(const struct daxpin_op *op)
{
	bool persisted = op->flags & DAXPIN_OP_PERSISTED;
	bool plain = !op->flags && !op->offset && !op->length;

	if (op->reserved[0] || op->reserved[1])
		return -EINVAL;
	switch (op->type) {
	case DAXPIN_OP_KEEP:
		if (op->flags & ~(DAXPIN_OP_PERSISTED | DAXPIN_OP_WRITERS) ||
		    (persisted && (op->offset || op->length)))
			return -EINVAL;
		return op->value || op->name ? -EINVAL : 0;
	case DAXPIN_OP_RETIRE:
		return plain && !op->value && !op->name ? 0 : -EINVAL;
	case DAXPIN_OP_SET:
		if (op->flags || op->length || op->name)
			return -EINVAL;
		return op->offset % sizeof(op->value) ? -EINVAL : 0;
	case DAXPIN_OP_ROOT:
		if (!plain || op->value)
			return -EINVAL;
		return publish_check_name(op->name);
	default:
		return -EINVAL;
	}
}

/* The first op that is wrong decides. */
static int publish_check(const struct daxpin_pool *pool,
			 const struct daxpin_op *ops, size_t count,
			 size_t *failed)
{
	struct dp_handle handle;
	int ret = 0;

	for (size_t i = 0; !ret && i < count; i++) {
		ret = publish_check_op(&ops[i]);
		if (!ret && !dp_op_names_nothing(&ops[i]))
			ret = dp_handle(pool, ops[i].extent, &handle);
		if (ret)
			*failed = i;
	}
	return ret;
}

/* The whole call, and which operation failed. */
static int publish_run(struct daxpin_pool *pool, const struct daxpin_op *ops,
		       size_t count, size_t *failed)
{
	int ret = dp_enter(pool);

	*failed = count;
	if (ret)
		return ret;
	if (!ops || !count)
		return -EINVAL;
	if (count > DAXPIN_OPS_MAX)
		return -E2BIG;
	if (pool->media.readonly)
		return -EROFS;
	ret = publish_check(pool, ops, count, failed);
	return ret ? ret : dp_publish(pool, ops, count, failed);
}

/* ------------------------------------------------------------- why it failed */

static const char *publish_op_name(uint32_t type)
{
	static const char *const names[] = {
		[DAXPIN_OP_KEEP] = "KEEP",
		[DAXPIN_OP_RETIRE] = "RETIRE",
		[DAXPIN_OP_SET] = "SET",
		[DAXPIN_OP_ROOT] = "ROOT",
	};

	return type && type < sizeof(names) / sizeof(names[0]) ? names[type] :
	       "an unknown type";
}

static const char *publish_errmsg_busy(uint32_t type)
{
	switch (type) {
	case DAXPIN_OP_KEEP:
		return "another publish has the extent, or it was held for writing since it was last idle: wait for the last drop, or keep it all the same with DAXPIN_OP_WRITERS";
	case DAXPIN_OP_RETIRE:
		return "another publish has the extent, or a root names it: let that root name something else in the same call";
	case DAXPIN_OP_ROOT:
		return "another publish has the name or the extent: try again";
	default:
		return "the extent is held exclusively: try again after the drop";
	}
}

static const char *publish_errmsg_invalid(const struct daxpin_op *op)
{
	switch (op->type) {
	case DAXPIN_OP_KEEP:
		return "the extent is not reserved, or the range is not inside it, or there is one beside DAXPIN_OP_PERSISTED, or a field or flag is set that KEEP does not use, or another operation has the extent";
	case DAXPIN_OP_RETIRE:
		return "the extent is not published, or a field is set that RETIRE does not use, or another operation has the extent";
	case DAXPIN_OP_SET:
		return "the extent is not published nor kept by this call, or the offset is not a multiple of 8 inside it, or a field is set that SET does not use, or another operation sets the same word";
	case DAXPIN_OP_ROOT:
		return "the name is empty, or the extent is not published nor kept by this call, or a field is set that ROOT does not use, or another operation has the name";
	default:
		return "there is no such type of operation";
	}
}

static const char *publish_errmsg(const struct daxpin_op *op, int error)
{
	switch (error) {
	case -EBUSY:
		return publish_errmsg_busy(op->type);
	case -EINVAL:
		return publish_errmsg_invalid(op);
	case -ENOENT:
		return "no root has that name";
	case -ENOSPC:
		return "all names for roots are in use: clear a root with an extent of {0, 0}";
	default:
		return daxpin_strerror(error);
	}
}

static int publish_failed(const struct dp_errmsg *errmsg,
			  const struct daxpin_op *ops, size_t count,
			  size_t failed, int error)
{
	const struct daxpin_op *op;

	if (error == -E2BIG)
		return dp_fail(errmsg, error,
			       "%zu operations are more than one call takes, which is %u",
			       count, DAXPIN_OPS_MAX);
	/* There may be no operations at all. */
	if (failed == count)
		return dp_fail(errmsg, error, "%s", daxpin_strerror(error));
	op = &ops[failed];
	if (op->type == DAXPIN_OP_ROOT && op->name)
		return dp_fail(errmsg, error, "operation %zu (ROOT \"%.*s\"): %s",
			       failed, (int)DP_ROOT_NAME_MAX, op->name,
			       publish_errmsg(op, error));
	return dp_fail(errmsg, error,
		       "operation %zu (%s of the extent at 0x%llx): %s", failed,
		       publish_op_name(op->type),
		       (unsigned long long)op->extent.addr,
		       publish_errmsg(op, error));
}

static int publish_options(const struct daxpin_publish_options *user,
			   struct daxpin_publish_options *ret_options)
{
	int ret;

	*ret_options = (struct daxpin_publish_options) { .size = 0 };
	if (!user)
		return 0;
	ret = DP_TAKE_OPTIONS(ret_options, user);
	if (!ret && ret_options->flags)
		ret = dp_fail(DP_ERRMSG_OF(ret_options), -EINVAL,
			      "flags 0x%x: a publish has none",
			      ret_options->flags);
	return ret;
}

DP_EXPORT int daxpin_publish(struct daxpin_pool *pool,
			     const struct daxpin_op *ops, size_t count,
			     const struct daxpin_publish_options *user,
			     size_t *failed)
{
	DP_CANCEL_POINT();
	struct daxpin_publish_options options;
	size_t index = count;
	int ret = publish_options(user, &options);

	if (!ret) {
		ret = publish_run(pool, ops, count, &index);
		if (ret)
			publish_failed(DP_ERRMSG_OF(&options), ops, count,
				       index, ret);
	}
	if (ret && failed)
		*failed = index;
	return ret;
}

DP_EXPORT int daxpin_root(struct daxpin_pool *pool, const char *name,
			  struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0 }, was;
	struct dp_state_view view;
	int ret = dp_enter(pool);

	if (!ret && !ret_extent)
		ret = -EINVAL;
	if (!ret)
		ret = publish_check_name(name);
	if (ret)
		return ret;
	do {
		was = word;
		ret = dp_root_find(&pool->roots, name, &word);
		if (ret)
			return ret;
		if (dp_is_named(pool, word, &view)) {
			*ret_extent = dp_extent(pool, word.block, view.generation);
			return 0;
		}
		/* Perhaps it moved between the two looks: look once more. */
	} while (word.block != was.block || word.gen != was.gen);
	return -ESTALE;
}

/* false: the slot has no name. The extent is {0, 0} if the one that it named has
 * ended. */
static bool publish_root_at(struct daxpin_pool *pool, uint32_t slot,
			    char ret_name[DP_ROOT_NAME_MAX],
			    struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0 }, was;
	struct dp_state_view view;

	*ret_extent = (struct daxpin_extent) { 0, 0 };
	do {
		was = word;
		if (!dp_root_at(&pool->roots, slot, ret_name, &word))
			return false;
		if (dp_is_named(pool, word, &view)) {
			*ret_extent = dp_extent(pool, word.block, view.generation);
			return true;
		}
		/* Perhaps it moved between the two looks: look once more. */
	} while (word.block != was.block || word.gen != was.gen);
	return true;
}

DP_EXPORT int daxpin_roots(struct daxpin_pool *pool,
			   int (*fn)(struct daxpin_pool *pool, const char *name,
				     struct daxpin_extent extent, void *arg),
			   void *arg)
{
	DP_CANCEL_POINT();
	char name[DP_ROOT_NAME_MAX];
	struct daxpin_extent extent;
	int ret = dp_enter(pool);

	if (!ret && !fn)
		ret = -EINVAL;
	for (uint32_t i = 0; !ret && i < DP_ROOTS; i++)
		if (publish_root_at(pool, i, name, &extent))
			ret = fn(pool, name, extent, arg);
	return ret;
}
