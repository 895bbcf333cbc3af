/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_publish(3): publishing, and roots. The caller's mistakes are found here;
 * core/publish.c makes the operations durable.
 */
#include <errno.h>
#include "core/publish.h"

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
	bool plain = !op->flags && !op->offset && !op->length;

	switch (op->type) {
	case DAXPIN_OP_KEEP:
		if (op->flags & ~(DAXPIN_OP_PERSIST | DAXPIN_OP_WRITERS))
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
			 const struct daxpin_op *ops, size_t count)
{
	struct dp_handle handle;
	int ret = 0;

	for (size_t i = 0; !ret && i < count; i++) {
		ret = publish_check_op(&ops[i]);
		if (!ret && !dp_op_names_nothing(&ops[i]))
			ret = dp_handle(pool, ops[i].extent, &handle);
	}
	return ret;
}

DP_EXPORT int daxpin_publish(struct daxpin_pool *pool,
			     const struct daxpin_op *ops, size_t count)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ops || !count)
		return -EINVAL;
	if (count > DAXPIN_OPS_MAX)
		return -E2BIG;
	if (pool->media.readonly)
		return -EROFS;
	ret = publish_check(pool, ops, count);
	return ret ? ret : dp_publish(pool, ops, count);
}

DP_EXPORT int daxpin_root(struct daxpin_pool *pool, const char *name,
			  struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0 }, was;
	struct dp_lease_view view;
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
			*ret_extent = dp_extent(pool, word.block, view.life);
			return 0;
		}
		/* Perhaps it moved between the two looks: look once more. */
	} while (word.block != was.block || word.gen != was.gen);
	return -ESTALE;
}
