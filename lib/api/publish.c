/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_publish(3): publishing, and roots. The caller's mistakes are found here;
 * core/publish.c makes the operations durable.
 */
#include <errno.h>
#include "core/publish.h"
#include "media/slab.h"
#include "util/cancel.h"

/* Is it a name that a root can have? */
static int publish_check_name(const char *name)
{
	size_t length = name ? strnlen(name, DP_ROOT_NAME_MAX) : 0;

	if (!length)
		return -EINVAL;
	return length < DP_ROOT_NAME_MAX ? 0 : -ENAMETOOLONG;
}

/* The flags that a type of operation takes, and the fields that it does not use: all
 * bits of each. */
struct publish_type {
	const char *name;
	uint32_t flags;
	uint64_t no_offset, no_length, no_value, no_root_name;
};

static const struct publish_type publish_types[] = {
	[DAXPIN_OP_KEEP] = {
		.name = "KEEP",
		.flags = DAXPIN_OP_PERSISTED | DAXPIN_OP_WRITERS,
		.no_value = ~0ull, .no_root_name = ~0ull,
	},
	[DAXPIN_OP_RETIRE] = {
		.name = "RETIRE", .no_offset = ~0ull, .no_length = ~0ull,
		.no_value = ~0ull, .no_root_name = ~0ull,
	},
	[DAXPIN_OP_SET] = {
		.name = "SET", .no_length = ~0ull, .no_root_name = ~0ull,
	},
	[DAXPIN_OP_ROOT] = {
		.name = "ROOT", .no_offset = ~0ull, .no_length = ~0ull,
		.no_value = ~0ull,
	},
	[DAXPIN_OP_OBJECT_KEEP] = {
		.name = "OBJECT_KEEP", .flags = DAXPIN_OP_PERSISTED,
		.no_value = ~0ull, .no_root_name = ~0ull,
	},
	[DAXPIN_OP_OBJECT_FREE] = {
		.name = "OBJECT_FREE", .no_offset = ~0ull, .no_length = ~0ull,
		.no_value = ~0ull, .no_root_name = ~0ull,
	},
};

/* NULL: there is no such type. */
static const struct publish_type *publish_type_of(const struct daxpin_op *op)
{
	return op->type && op->type < sizeof(publish_types) /
				      sizeof(publish_types[0]) ?
	       &publish_types[op->type] : NULL;
}

/* The first field that is not 0 although the type does not use it. The operation is
 * refused, because a later version may give the field a meaning. */
static const char *publish_unused_field(const struct publish_type *type,
					const struct daxpin_op *op)
{
	if (op->offset & type->no_offset)
		return "offset";
	if (op->length & type->no_length)
		return "length";
	if (op->value & type->no_value)
		return "value";
	if ((uintptr_t)op->name & type->no_root_name)
		return "name";
	return "reserved";
}

static bool publish_has_unused_field(const struct publish_type *type,
				     const struct daxpin_op *op)
{
	return (op->offset & type->no_offset) | (op->length & type->no_length) |
	       (op->value & type->no_value) |
	       ((uintptr_t)op->name & type->no_root_name) |
	       op->reserved[0] | op->reserved[1];
}

/* Check the fields, whatever the state of the extent is. cause: for the sentence, or
 * NULL. */
static int publish_check_op(const struct daxpin_op *op, const struct dp_errmsg *cause)
{
	const struct publish_type *type = publish_type_of(op);

	if (!type)
		return dp_fail(cause, -EINVAL, "there is no type %u", op->type);
	if (op->flags & ~type->flags)
		return dp_fail(cause, -EINVAL, "of flags 0x%x it takes only 0x%x",
			       op->flags, type->flags);
	if (publish_has_unused_field(type, op))
		return dp_fail(cause, -EINVAL,
			       "it does not use the field %s, which must be 0",
			       publish_unused_field(type, op));
	if (op->flags & DAXPIN_OP_PERSISTED && (op->offset || op->length))
		return dp_fail(cause, -EINVAL,
			       "with DAXPIN_OP_PERSISTED nothing is made durable, so offset and length must be 0");
	if (op->type == DAXPIN_OP_SET && op->offset % sizeof(op->value))
		return dp_fail(cause, -EINVAL, "offset %llu is not a multiple of 8",
			       (unsigned long long)op->offset);
	if (op->type == DAXPIN_OP_ROOT && (!op->name || !*op->name))
		return dp_fail(cause, -EINVAL, "the name is NULL or empty");
	return op->type == DAXPIN_OP_ROOT ? publish_check_name(op->name) : 0;
}

static bool publish_is_object_type(const struct daxpin_op *op)
{
	return op->type == DAXPIN_OP_OBJECT_KEEP || op->type == DAXPIN_OP_OBJECT_FREE;
}

/* Is it an operation on an object, and not on an extent? */
static bool publish_is_of_object(const struct daxpin_op *op)
{
	return publish_is_object_type(op) ||
	       (dp_op_names_object(op) && (op->type == DAXPIN_OP_SET ||
					   op->type == DAXPIN_OP_ROOT));
}

/* Is it an address that an object can have, outside of the metadata? */
static bool publish_is_object_place(const struct daxpin_pool *pool, uint64_t addr)
{
	uint64_t block = addr >> DP_BLOCK_SHIFT;

	return addr % DP_SLAB_ALIGN == 0 && block < pool->block_end &&
	       (block & pool->segment_mask) >= pool->meta_blocks;
}

/* Is the extent or object of an operation in a place where there can be one? */
static int publish_check_extent(const struct daxpin_pool *pool,
				const struct daxpin_op *op)
{
	struct dp_handle handle;

	if (dp_op_names_nothing(op))
		return 0;
	if (publish_is_object_type(op) && op->extent.gen)
		return -EINVAL;
	if (publish_is_of_object(op))
		return publish_is_object_place(pool, op->extent.addr) ? 0 : -EINVAL;
	return dp_handle(pool, op->extent, &handle);
}

/* Check all operations, up to the first that is invalid: *failed is its index. */
static int publish_check(const struct daxpin_pool *pool,
			 const struct daxpin_op *ops, size_t count,
			 size_t *failed)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < count; i++) {
		ret = publish_check_op(&ops[i], NULL);
		if (!ret)
			ret = publish_check_extent(pool, &ops[i]);
		if (ret)
			*failed = i;
	}
	return ret;
}

/* Check the arguments and publish. On failure, *failed is the index of the operation
 * that failed, or count. */
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

static const char *publish_errmsg_busy(uint32_t type)
{
	switch (type) {
	case DAXPIN_OP_KEEP:
		return "another publish has the extent, or it was held for writing since it was last idle: wait for the last drop, or keep it all the same with DAXPIN_OP_WRITERS";
	case DAXPIN_OP_RETIRE:
		return "another publish has the extent, or a root names it: let that root name something else in the same call, or repair the pool if the name of the root is damaged";
	case DAXPIN_OP_ROOT:
		return "another publish has the name or the extent: try again";
	default:
		return "the extent is held exclusively: try again after the drop";
	}
}

/* NULL if one call may have both operations, otherwise what the other one does to
 * conflict with this one. */
static const char *publish_conflict(const struct daxpin_op *op,
				    const struct daxpin_op *other)
{
	bool same = op->extent.addr == other->extent.addr;

	if (op->type == DAXPIN_OP_ROOT && other->type == DAXPIN_OP_ROOT)
		return strcmp(op->name, other->name) ? NULL : "changes the same name";
	if (op->type == DAXPIN_OP_SET && other->type == DAXPIN_OP_SET)
		return same && op->offset == other->offset ? "sets the same word" :
							     NULL;
	if (!same || other->type == DAXPIN_OP_SET || other->type == DAXPIN_OP_ROOT ||
	    publish_is_of_object(op) != publish_is_of_object(other))
		return NULL;
	if (other->type == DAXPIN_OP_OBJECT_FREE)
		return "frees the same object";
	if (other->type == DAXPIN_OP_OBJECT_KEEP)
		return publish_is_object_type(op) ? "keeps the same object" : NULL;
	if (other->type == DAXPIN_OP_RETIRE)
		return "retires the same extent";
	return op->type == DAXPIN_OP_KEEP || op->type == DAXPIN_OP_RETIRE ?
	       "keeps the same extent" : NULL;
}

/* -EINVAL, with a sentence, if another operation conflicts with the one that failed;
 * otherwise 0. */
static int publish_explain_conflict(const struct daxpin_op *ops, size_t count,
				    size_t failed, const struct dp_errmsg *cause)
{
	for (size_t i = 0; i < count; i++) {
		const char *what;

		if (i == failed || publish_check_op(&ops[i], NULL))
			continue;
		what = publish_conflict(&ops[failed], &ops[i]);
		if (what)
			return dp_fail(cause, -EINVAL,
				       "operation %zu of the call %s", i, what);
	}
	return 0;
}

/* The address of an operation on an extent is not that of one. */
static int publish_explain_address(struct daxpin_pool *pool, const struct daxpin_op *op,
				   const struct dp_errmsg *cause)
{
	struct dp_object object;

	if (!dp_object_find(&pool->objects, op->extent.addr, &object))
		return dp_fail(cause, -EINVAL,
			       "the address is not that of an extent of this pool");
	if (op->type == DAXPIN_OP_KEEP || op->type == DAXPIN_OP_RETIRE)
		return dp_fail(cause, -EINVAL,
			       "a small object begins there, and no extent: use %s",
			       op->type == DAXPIN_OP_KEEP ? "OBJECT_KEEP" :
			       "OBJECT_FREE");
	return dp_fail(cause, -EINVAL,
		       "a small object begins there, and no extent: set extent.gen to 0");
}

/* -EINVAL, with a sentence about what the extent's state does not allow. The state is
 * read after the failure, so another thread may have changed it meanwhile. */
static int publish_explain_state(struct daxpin_pool *pool, const struct daxpin_op *op,
				 const struct dp_errmsg *cause)
{
	bool is_keep = op->type == DAXPIN_OP_KEEP, is_reserved;
	struct dp_handle handle;
	uint64_t bytes, length = op->length;

	if (dp_handle(pool, op->extent, &handle))
		return publish_explain_address(pool, op, cause);
	is_reserved = dp_state_read(&pool->states, handle.block).state ==
		      DP_STATE_RESERVED;
	bytes = (uint64_t)dp_state_blocks(&pool->states, handle.block)
		<< DP_BLOCK_SHIFT;
	if (is_keep && !is_reserved)
		return dp_fail(cause, -EINVAL,
			       "the extent is not reserved: it was kept before");
	if (!is_keep && is_reserved)
		return dp_fail(cause, -EINVAL,
			       "the extent is reserved and not live: %s",
			       op->type == DAXPIN_OP_RETIRE ?
			       "free it with daxpin_cancel()" :
			       "keep it before, or in the same call");
	if (is_keep && dp_range(pool, handle.block, op->offset, &length))
		return dp_fail(cause, -EINVAL,
			       "offset %llu and length %llu are not inside the extent of %llu bytes",
			       (unsigned long long)op->offset,
			       (unsigned long long)op->length,
			       (unsigned long long)bytes);
	if (op->type == DAXPIN_OP_SET && op->offset >= bytes)
		return dp_fail(cause, -EINVAL,
			       "offset %llu is not inside the extent of %llu bytes",
			       (unsigned long long)op->offset,
			       (unsigned long long)bytes);
	return dp_fail(cause, -EINVAL, "the extent's state does not allow it");
}

static const char *publish_errmsg(const struct daxpin_op *op, int error)
{
	switch (error) {
	case -EALREADY:
		return "the extent is retired already";
	case -EBUSY:
		return publish_errmsg_busy(op->type);
	case -ENOENT:
		return "no root has that name";
	case -ENOSPC:
		return "all names for roots are in use: clear a root with an extent of {0, 0}";
	case -ESTALE:
		return "the extent was freed, or the handle is from an earlier open of the pool";
	default:
		return daxpin_strerror(error);
	}
}

/* An OBJECT_KEEP that another operation of the call does not conflict with, and whose
 * object is not free. */
static int publish_explain_object_keep(const struct daxpin_op *op,
				       struct dp_object object,
				       const struct dp_errmsg *cause)
{
	if (dp_object_state(object) == DP_OBJECT_LIVE)
		return dp_fail(cause, -EINVAL,
			       "the object is not reserved: it was kept before");
	return dp_fail(cause, -EINVAL,
		       "offset %llu and length %llu are not inside the object of %u bytes",
		       (unsigned long long)op->offset, (unsigned long long)op->length,
		       dp_object_size(object));
}

/* The same as publish_explain_state(), for an object. */
static int publish_explain_object(struct daxpin_pool *pool, const struct daxpin_op *op,
				  const struct dp_errmsg *cause)
{
	struct dp_object object;

	if (op->extent.gen)
		return dp_fail(cause, -EINVAL,
			       "extent.gen is 0x%llx, and must be 0 for an object: %s",
			       (unsigned long long)op->extent.gen,
			       op->type == DAXPIN_OP_OBJECT_KEEP ?
			       "an extent is kept with KEEP" :
			       "an extent is freed with RETIRE");
	if (!dp_object_find(&pool->objects, op->extent.addr, &object))
		return dp_fail(cause, -EINVAL,
			       "no object begins at that address: give one that daxpin_object_reserve() has stored%s",
			       publish_is_object_type(op) ? "" :
			       ", or the handle of an extent, whose gen is not 0");
	if (op->type == DAXPIN_OP_OBJECT_KEEP)
		return publish_explain_object_keep(op, object, cause);
	if (dp_object_state(object) == DP_OBJECT_RESERVED)
		return dp_fail(cause, -EINVAL,
			       "the object is reserved and not live: %s",
			       op->type == DAXPIN_OP_OBJECT_FREE ?
			       "free it with daxpin_object_cancel()" :
			       "keep it before, or in the same call");
	if (op->type == DAXPIN_OP_SET && op->offset >= dp_object_size(object))
		return dp_fail(cause, -EINVAL,
			       "offset %llu is not inside the object of %u bytes",
			       (unsigned long long)op->offset, dp_object_size(object));
	return dp_fail(cause, -EINVAL, "the object's state does not allow it");
}

/* The roots are read after the failure, so another thread may have changed them
 * meanwhile. */
static int publish_explain_object_busy(struct daxpin_pool *pool,
				       const struct daxpin_op *op,
				       const struct dp_errmsg *cause)
{
	char name[DP_ROOT_NAME_MAX];
	struct dp_root_word word;

	for (uint32_t i = 0; op->type == DAXPIN_OP_OBJECT_FREE && i < DP_ROOTS; i++) {
		if (!dp_root_at(&pool->roots, i, name, &word) ||
		    word.object != op->extent.addr)
			continue;
		if (!name[0])
			return dp_fail(cause, -EBUSY,
				       "a root whose name is damaged names the object: repair the pool first");
		return dp_fail(cause, -EBUSY,
			       "the root \"%.*s\" names the object: let it name something else in the same call",
			       (int)DP_ROOT_NAME_MAX, name);
	}
	return dp_fail(cause, -EBUSY, "another call publishes the %s: try again",
		       op->type == DAXPIN_OP_ROOT ? "name or the object" : "object");
}

/* Why an operation on an object failed with another error than -EINVAL. */
static int publish_explain_object_error(struct daxpin_pool *pool,
					const struct daxpin_op *op, int error,
					const struct dp_errmsg *cause)
{
	if (error == -EBUSY)
		return publish_explain_object_busy(pool, op, cause);
	if (error != -ESTALE)
		return dp_fail(cause, error, "%s", publish_errmsg(op, error));
	return dp_fail(cause, error, "the object is free: %s",
		       op->type == DAXPIN_OP_OBJECT_FREE ?
		       "it was freed or cancelled before, or lost at a close because it was not kept; free each object once" :
		       "it was freed or cancelled before, or lost at a close because it was not kept; reserve another");
}

static void publish_explain(struct daxpin_pool *pool, const struct daxpin_op *ops,
			    size_t count, size_t failed, int error,
			    const struct dp_errmsg *cause)
{
	const struct daxpin_op *op = &ops[failed];
	bool is_of_object = publish_is_of_object(op);

	if (error != -EINVAL && is_of_object)
		publish_explain_object_error(pool, op, error, cause);
	else if (error != -EINVAL)
		dp_fail(cause, error, "%s", publish_errmsg(op, error));
	else if (publish_check_op(op, cause) ||
		 publish_explain_conflict(ops, count, failed, cause))
		return;
	else if (is_of_object)
		publish_explain_object(pool, op, cause);
	else
		publish_explain_state(pool, op, cause);
}

static int publish_failed(const struct dp_errmsg *errmsg, struct daxpin_pool *pool,
			  const struct daxpin_op *ops, size_t count,
			  size_t failed, int error)
{
	const struct publish_type *type;
	const struct daxpin_op *op;
	char cause[240], of[48] = "";

	if (error == -E2BIG)
		return dp_fail(errmsg, error,
			       "%zu operations are more than one call takes, which is %u",
			       count, DAXPIN_OPS_MAX);
	/* There may be no operations at all. */
	if (failed == count)
		return dp_fail(errmsg, error, "%s", daxpin_strerror(error));
	op = &ops[failed];
	type = publish_type_of(op);
	publish_explain(pool, ops, count, failed, error,
			&(struct dp_errmsg) { cause, sizeof(cause) });
	if (publish_is_of_object(op))
		snprintf(of, sizeof(of), " of the object at 0x%llx",
			 (unsigned long long)op->extent.addr);
	else if (op->type != DAXPIN_OP_ROOT || !op->name)
		snprintf(of, sizeof(of), " of the extent at 0x%llx",
			 (unsigned long long)op->extent.addr);
	if (op->type == DAXPIN_OP_ROOT && op->name)
		return dp_fail(errmsg, error, "operation %zu (ROOT \"%.*s\"%s): %s",
			       failed, (int)DP_ROOT_NAME_MAX, op->name, of, cause);
	return dp_fail(errmsg, error, "operation %zu (%s%s): %s", failed,
		       type ? type->name : "an unknown type", of, cause);
}

/* Publish for a caller that may want a sentence. Not inlined, so that the call of all
 * others does not prepare these options. */
__attribute__((noinline))
static int publish_with_options(struct daxpin_pool *pool,
				const struct daxpin_op *ops, size_t count,
				const struct daxpin_publish_options *user,
				size_t *failed)
{
	struct daxpin_publish_options options = { .size = 0 };
	int ret = DP_TAKE_OPTIONS(&options, user);

	if (!ret && options.flags)
		ret = dp_fail(DP_ERRMSG_OF(&options), -EINVAL,
			      "flags 0x%x: a publish has none", options.flags);
	if (ret)
		return ret;
	ret = publish_run(pool, ops, count, failed);
	if (ret)
		publish_failed(DP_ERRMSG_OF(&options), pool, ops, count, *failed,
			       ret);
	return ret;
}

DP_EXPORT int daxpin_publish(struct daxpin_pool *pool,
			     const struct daxpin_op *ops, size_t count,
			     const struct daxpin_publish_options *user,
			     size_t *failed)
{
	DP_CANCEL_POINT_ONLY();
	size_t index = count;
	int ret = user ? publish_with_options(pool, ops, count, user, &index) :
			 publish_run(pool, ops, count, &index);

	if (ret && failed)
		*failed = index;
	return ret;
}

/* The extent or object that a root names. False: it has ended. */
static bool publish_is_named(struct daxpin_pool *pool, struct dp_root_word word,
			     struct daxpin_extent *ret_extent)
{
	struct dp_state_view view;
	struct dp_object object;

	if (dp_is_named(pool, word, &view)) {
		*ret_extent = dp_extent(pool, word.block, view.generation);
		return true;
	}
	if (!dp_object_is_named(pool, word, &object))
		return false;
	*ret_extent = (struct daxpin_extent) { word.object, 0 };
	return true;
}

DP_EXPORT int daxpin_root(struct daxpin_pool *pool, const char *name,
			  struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0, 0 }, was;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!name || !ret_extent)
		return -EINVAL;
	do {
		was = word;
		ret = dp_root_find(&pool->roots, name, &word);
		if (ret)
			return ret;
		if (publish_is_named(pool, word, ret_extent))
			return 0;
		/* The extent may have ended because another publish has changed the
		 * root since its word was read. So read the word again, until it is
		 * the same. */
	} while (dp_root_pack(word) != dp_root_pack(was));
	return -ESTALE;
}

/* The name and extent of the root in a slot. False: the slot has no root, or its name
 * is damaged. *ret_extent is {0, 0} if the extent that the root names has ended. */
static bool publish_root_at(struct daxpin_pool *pool, uint32_t slot,
			    char ret_name[DP_ROOT_NAME_MAX],
			    struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0, 0 }, was;

	*ret_extent = (struct daxpin_extent) { 0, 0 };
	do {
		was = word;
		if (!dp_root_at(&pool->roots, slot, ret_name, &word) || !ret_name[0])
			return false;
		if (publish_is_named(pool, word, ret_extent))
			return true;
		/* Another publish may have changed the root meanwhile, see above. */
	} while (dp_root_pack(word) != dp_root_pack(was));
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
