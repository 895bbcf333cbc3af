/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be true in every state:
 *
 *  - the superblock: its copy is at most one change behind, and otherwise equal; the
 *    pool's uuid and its devices are recorded;
 *  - it opens (or, while a create was interrupted, a create completes it);
 *  - extents, objects, generations, payload, changed words and roots are exactly those
 *    of one candidate;
 *  - no generation and no epoch is used a second time;
 *  - no free block is in a hole, and no extent is or was in one before the recovery;
 *  - dp_invariants(): no two extents overlap, media and memory agree;
 *  - after another power failure right afterwards, recovery has the same result.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "core/handle.h"
#include "machine/machine.h"
#include "support/invariant.h"
#include "oracle.h"

/* If recovery has nothing to repair, the last two are checked only sometimes. */
#define EVERY	4u

__attribute__((format(printf, 2, 3)))
static bool wrong(struct oracle *oracle, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(oracle->wrong, sizeof(oracle->wrong), format, ap);
	va_end(ap);
	return false;
}

/* ----------------------------------------------------------------- observe */

struct observing {
	struct oracle *oracle;
	struct model *seen;
	const char *fault;
};

static void observe_payload(struct observing *observing, const char *base,
			    const struct model_extent *it, uint64_t size)
{
	for (uint64_t at = 0; at < size; at = model_next_offset(at, size)) {
		uint64_t value;

		memcpy(&value, base + at, sizeof(value));
		if (value != model_payload(it->addr, it->gen, at) &&
		    !model_add_word(observing->seen, it->addr + at, value))
			observing->fault = "too many words of payload that were never written there";
	}
}

static int observe_extent(struct daxpin_pool *pool,
			  struct daxpin_extent extent, uint64_t size, void *arg)
{
	struct observing *observing = arg;
	struct model_extent it = {
		extent.addr, size / DP_BLOCK_SIZE,
		extent.gen & DP_WORD_GEN_MASK, false
	};

	if (machine_is_hole(it.addr / media_segment_size,
			    it.addr % media_segment_size, size))
		observing->fault = "an extent is in a hole";
	else if (!model_add_extent(observing->seen, it.addr, it.blocks, it.gen,
			      false))
		observing->fault = "extents overlap, or are too many";
	else
		observe_payload(observing, daxpin_ptr(pool, extent, 0), &it,
				size);
	return observing->fault != NULL;
}

static int observe_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
			  void *arg)
{
	struct observing *observing = arg;
	const char *base = daxpin_object_ptr(pool, addr);
	uint64_t value;
	uint32_t tag;

	memcpy(&value, base, sizeof(value));
	if (!model_object_tag(value, &tag))
		observing->fault = "an object whose payload is not durable";
	else if (!model_add_object(observing->seen, addr, size, tag))
		observing->fault = "objects that overlap others or extents, or are too many";
	for (uint64_t at = model_next_offset(0, size); at < size && !observing->fault;
	     at = model_next_offset(at, size)) {
		memcpy(&value, base + at, sizeof(value));
		if (value != model_object_payload(addr, tag, at) &&
		    !model_add_word(observing->seen, addr + at, value))
			observing->fault = "too many words of objects that were never written there";
	}
	return observing->fault != NULL;
}

static void observe_roots(struct observing *observing, struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < MODEL_ROOTS; i++) {
		struct daxpin_extent extent;
		int ret = daxpin_root(pool, model_root_name(i), &extent);

		if (!ret)
			observing->seen->root[i] = extent.addr;
		else if (ret != -ENOENT)
			observing->fault = "a root names another generation";
	}
}

bool oracle_observe(struct oracle *oracle, struct daxpin_pool *pool,
		    struct model *ret_seen)
{
	struct observing observing = { oracle, ret_seen, NULL };
	struct daxpin_pool_info info = { .size = sizeof(info) };

	memset(ret_seen, 0, sizeof(*ret_seen));
	daxpin_foreach(pool, observe_extent, &observing);
	if (!observing.fault)
		daxpin_foreach_object(pool, observe_object, &observing);
	observe_roots(&observing, pool);
	daxpin_pool_info(pool, &info);
	ret_seen->ready = true;
	ret_seen->epoch = info.epoch;
	ret_seen->segments = info.segments;
	ret_seen->bytes = info.media_bytes;
	if (observing.fault)
		return wrong(oracle, "it has %s", observing.fault);
	return true;
}

/* --------------------------------------------------------------- superblock */

struct look {
	const struct dp_super *main;	/* the newest valid half, or NULL */
	const struct dp_super *copy;
};

static const struct dp_super *newest(uint64_t offset)
{
	const struct dp_super *half = (void *)(media_base() + offset);
	const struct dp_super *found = NULL;

	for (int i = 0; i < 2; i++)
		if (dp_super_is_whole(&half[i]) &&
		    (!found || half[i].sequence > found->sequence))
			found = &half[i];
	return found;
}

/* Before any recovery: the state that the last owner left. */
static bool look_at_super(struct oracle *oracle, struct model *seen)
{
	struct look look = { newest(DP_SUPER_OFFSET), newest(DP_COPY_OFFSET) };
	uint64_t main = look.main ? look.main->sequence : 0;
	uint64_t copy = look.copy ? look.copy->sequence : 0;

	seen->unclean = look.main && look.main->flags & DP_SUPER_UNCLEAN;
	seen->rdma = look.main ? look.main->owner.contexts : 0;
	if (main - copy > 1)
		return wrong(oracle, "superblock %llu, its copy %llu",
			     (unsigned long long)main,
			     (unsigned long long)copy);
	if (main && main == copy &&
	    memcmp(look.main, look.copy, sizeof(*look.main)))
		return wrong(oracle, "superblock and copy differ");
	return true;
}

/* A hole must not be free, or it would be handed out. */
static bool check_holes(struct oracle *oracle, struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.geometry.segments; i++)
		for (uint32_t b = DP_CHUNK_BLOCKS;
		     b < dp_geometry_blocks(&pool->media.geometry, i); b++)
			if (machine_inode(i)->hole[b / DP_CHUNK_BLOCKS] &&
			    dp_bits_is_free(dp_spaces_bits(&pool->spaces, i), b))
				return wrong(oracle, "segment %u, block %u is free and in a hole",
					     i, b);
	return true;
}

struct holes {
	bool chunk[MEDIA_SEGMENTS][MEDIA_SEGMENT_MAX / DP_CHUNK_SIZE];
};

static void find_holes(struct holes *ret_holes)
{
	for (uint32_t i = 0; i < MEDIA_SEGMENTS; i++)
		for (uint32_t c = 0; c < media_segment_size / DP_CHUNK_SIZE; c++)
			ret_holes->chunk[i][c] = machine_inode(i)->hole[c];
}

static bool is_in_hole(const struct holes *holes, uint64_t addr, uint32_t blocks)
{
	const bool *chunk = holes->chunk[addr / media_segment_size];
	uint64_t first = addr % media_segment_size;
	uint64_t last = first + blocks * DP_BLOCK_SIZE - 1;

	for (uint64_t i = first / DP_CHUNK_SIZE; i <= last / DP_CHUNK_SIZE; i++)
		if (chunk[i])
			return true;
	return false;
}

/*
 * An open allocates a hole again if an extent is in it, whose bytes are zeroes then. So
 * the holes are those of before the recovery.
 */
static bool check_extents(struct oracle *oracle, const struct holes *holes,
			  const struct model *seen)
{
	for (uint32_t i = 0; i < seen->extents; i++) {
		const struct model_extent *it = &seen->extent[i];

		if (is_in_hole(holes, it->addr, it->blocks))
			return wrong(oracle, "the extent at block %llx was in a hole",
				     (unsigned long long)it->addr >> 12);
	}
	return true;
}

/* After the return of a call that writes it, the copy must be up to date. */
static bool check_copies(struct oracle *oracle)
{
	for (uint32_t i = 0; i < oracle->seen.segments; i++) {
		uint64_t at = i * media_segment_size;
		const struct dp_super *main = newest(at + DP_SUPER_OFFSET);
		const struct dp_super *copy = newest(at + DP_COPY_OFFSET);

		if (!main)	/* not of this pool */
			continue;
		if (!copy || memcmp(main, copy, sizeof(*main)))
			return wrong(oracle, "segment %u: the copy of the superblock differs from the superblock",
				     i);
	}
	return true;
}

/* ----------------------------------------------------------------- compare */

static bool is_loose(const struct model *model, uint64_t addr)
{
	for (uint32_t i = 0; i < model->extents; i++) {
		const struct model_extent *it = &model->extent[i];

		if (it->loose && addr >= it->addr &&
		    addr < it->addr + it->blocks * DP_BLOCK_SIZE)
			return true;
	}
	return false;
}

static bool has_word(const struct model *model, const struct model_word *word)
{
	for (uint32_t i = 0; i < model->words; i++)
		if (model->word[i].addr == word->addr)
			return model->word[i].value == word->value;
	return false;
}

static bool words_are_same(const struct model *expected,
			   const struct model *seen)
{
	if (expected->words == seen->words &&
	    !memcmp(expected->word, seen->word,
		    seen->words * sizeof(seen->word[0])))
		return true;
	for (uint32_t i = 0; i < expected->words; i++)
		if (!is_loose(expected, expected->word[i].addr) &&
		    !has_word(seen, &expected->word[i]))
			return false;
	for (uint32_t i = 0; i < seen->words; i++)
		if (!is_loose(expected, seen->word[i].addr) &&
		    !has_word(expected, &seen->word[i]))
			return false;
	return true;
}

static bool extents_are_same(const struct model *expected,
			     const struct model *seen)
{
	if (expected->extents != seen->extents)
		return false;
	for (uint32_t i = 0; i < seen->extents; i++) {
		const struct model_extent *a = &expected->extent[i];
		const struct model_extent *b = &seen->extent[i];

		if (a->addr != b->addr || a->blocks != b->blocks ||
		    a->gen != b->gen)
			return false;
	}
	return true;
}

bool oracle_is_same_space(const struct model *expected, const struct model *seen)
{
	return extents_are_same(expected, seen) &&
	       expected->objects == seen->objects &&
	       !memcmp(expected->object, seen->object, sizeof(seen->object)) &&
	       words_are_same(expected, seen) &&
	       !memcmp(expected->root, seen->root, sizeof(seen->root));
}

bool oracle_is_same(const struct model *expected, const struct model *seen)
{
	if (expected->ready != seen->ready)
		return false;
	if (!seen->ready)
		return true;
	return expected->segments == seen->segments &&
	       expected->bytes == seen->bytes &&
	       expected->unclean == seen->unclean &&
	       expected->rdma == seen->rdma &&
	       oracle_is_same_space(expected, seen);
}

static uint32_t add_list(char *text, uint32_t size, const char *what,
			 const struct model *model)
{
	uint32_t at = snprintf(text, size, "%s: %s, %sclean, %u on record;",
			       what, model->ready ? "a pool" : "no pool",
			       model->unclean ? "un" : "", model->rdma);

	if (model->segments && at < size)
		at += snprintf(text + at, size - at, " %u segment(s), %llu bytes;",
			       model->segments, (unsigned long long)model->bytes);
	for (uint32_t i = 0; i < model->extents && i < 8 && at < size; i++)
		at += snprintf(text + at, size - at, " %llx+%u.%u",
			       (unsigned long long)model->extent[i].addr >> 12,
			       model->extent[i].blocks, model->extent[i].gen);
	for (uint32_t i = 0; i < model->objects && i < 8 && at < size; i++)
		at += snprintf(text + at, size - at, " o%llx.%x",
			       (unsigned long long)model->object[i].addr,
			       model->object[i].tag);
	for (uint32_t i = 0; i < model->words && i < 4 && at < size; i++)
		at += snprintf(text + at, size - at, " [%llx]=%llx",
			       (unsigned long long)model->word[i].addr,
			       (unsigned long long)model->word[i].value);
	for (uint32_t i = 0; i < MODEL_ROOTS && at < size; i++)
		if (model->root[i])
			at += snprintf(text + at, size - at, " %s->%llx",
				       model_root_name(i),
				       (unsigned long long)model->root[i] >> 12);
	return at < size ? at : size - 1;
}

void oracle_difference(const struct model *expected, const struct model *seen,
		       char *text, uint32_t size)
{
	uint32_t at = add_list(text, size, "is", seen);

	at += snprintf(text + at, size - at, "\n#     ");
	if (at < size)
		add_list(text + at, size - at, "may be", expected);
}

/* No generation of a block may be used again. */
static bool check_generations(struct oracle *oracle, struct daxpin_pool *pool,
			const struct model *expected)
{
	for (uint32_t i = 0; i < expected->ended; i++) {
		const struct model_word *end = &expected->end[i];
		struct dp_state_view view =
			dp_state_read(&pool->states, end->addr >> 12);

		if (view.generation < end->value)
			return wrong(oracle, "block %llx has generation %llu, the last one was %llu",
				     (unsigned long long)end->addr >> 12,
				     (unsigned long long)view.generation,
				     (unsigned long long)end->value - 1);
	}
	return true;
}

/* ----------------------------------------------------------------- recover */

static int start(struct oracle *oracle, bool create, char errmsg[300],
		 struct daxpin_pool **ret_pool)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.errmsg = errmsg, .errmsg_size = 300,
	};

	machine_reboot();
	oracle->opens++;
	errmsg[0] = '\0';
	if (!create)
		return daxpin_pool_open(MACHINE_POOL, &options, ret_pool);
	options.pool_size = media_pool_size(oracle->segments);
	options.segment_size = media_segment_size;
	return daxpin_pool_create(MACHINE_POOL, &options, ret_pool);
}

static bool any(const struct model *candidate, uint32_t count, bool ready)
{
	for (uint32_t i = 0; i < count; i++)
		if (candidate[i].ready == ready)
			return true;
	return false;
}

/* Opens the pool, or completes the create that was interrupted. */
static struct daxpin_pool *recover(struct oracle *oracle,
				   const struct model *candidate,
				   uint32_t count, bool *ret_created)
{
	struct daxpin_pool *pool = NULL;
	char errmsg[300], second[300];
	int ret = start(oracle, false, errmsg, &pool);

	*ret_created = ret != 0;
	if (!ret)
		return pool;
	if (!any(candidate, count, false)) {
		wrong(oracle, "the pool does not open: %s (%d)", errmsg, ret);
		return NULL;
	}
	if (ret != -EMEDIUMTYPE && ret != -EUCLEAN && ret != -ENOENT) {
		wrong(oracle, "an unfinished create: open returned: %s (%d)",
		      errmsg,
		      ret);
		return NULL;
	}
	ret = start(oracle, true, second, &pool);
	if (!ret)
		return pool;
	wrong(oracle, "an unfinished create is not completed: %s (%d); open: %s",
	      second, ret, errmsg);
	return NULL;
}

static bool find_match(struct oracle *oracle, struct daxpin_pool *pool,
		       const struct model *candidate, uint32_t count,
		       uint32_t *ret_match)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!oracle_is_same(&candidate[i], &oracle->seen))
			continue;
		*ret_match = i;
		/* D15, independent of everything else */
		if (oracle->again.epoch <= candidate[i].epoch)
			return wrong(oracle, "epoch %llu is used a second time",
				     (unsigned long long)oracle->again.epoch);
		return check_generations(oracle, pool, &candidate[i]);
	}
	snprintf(oracle->wrong, sizeof(oracle->wrong),
		 "the result is none of the %u allowed states\n#     ", count);
	oracle_difference(&candidate[0], &oracle->seen,
			  oracle->wrong + strlen(oracle->wrong),
			  sizeof(oracle->wrong) - strlen(oracle->wrong));
	if (count > 1) {
		uint32_t at = strlen(oracle->wrong);

		at += snprintf(oracle->wrong + at, sizeof(oracle->wrong) - at,
			       "\n#     ");
		if (at < sizeof(oracle->wrong))
			add_list(oracle->wrong + at, sizeof(oracle->wrong) - at,
				 "or", &candidate[count - 1]);
	}
	return false;
}

/* Recovers again, as if the power had been cut right after the first recovery. */
static bool recover_again(struct oracle *oracle)
{
	struct daxpin_pool *pool = NULL;
	char errmsg[300];
	const uint64_t epoch = oracle->again.epoch;
	bool fine;
	int ret = start(oracle, false, errmsg, &pool);

	if (ret)
		return wrong(oracle, "after one recovery the pool does not open again: %s (%d)",
			     errmsg, ret);
	fine = oracle_observe(oracle, pool, &oracle->again);
	oracle->again.unclean = oracle->seen.unclean;
	oracle->again.rdma = oracle->seen.rdma;
	if (fine && !oracle_is_same(&oracle->seen, &oracle->again)) {
		fine = wrong(oracle, "a second recovery has another result\n#     ");
		oracle_difference(&oracle->seen, &oracle->again,
				  oracle->wrong + strlen(oracle->wrong),
				  sizeof(oracle->wrong) -
				  strlen(oracle->wrong));
	}
	if (fine && oracle->again.epoch <= epoch)
		fine = wrong(oracle, "epoch %llu after %llu",
			     (unsigned long long)oracle->again.epoch,
			     (unsigned long long)epoch);
	world_abandon(pool);
	return fine;
}

/* Did recovery change anything besides segment 0's superblock, the owner's record? */
static bool has_repaired(const struct media_trace *trace)
{
	for (uint32_t i = 0; i < trace->changes; i++) {
		uint64_t at = trace->change[i].word * 8ull;

		if (at >= DP_SUPER_SIZE && (at < DP_COPY_OFFSET ||
					    at >= DP_COPY_OFFSET + DP_SUPER_SIZE))
			return true;
	}
	return false;
}

static bool judge(struct oracle *oracle, const struct model *candidate,
		  uint32_t count, uint32_t *ret_match)
{
	struct model before;
	struct daxpin_pool *pool;
	struct holes holes;
	bool created, fine, thorough;

	find_holes(&holes);
	memset(&before, 0, sizeof(before));
	if (!look_at_super(oracle, &before))
		return false;
	pool = recover(oracle, candidate, count, &created);
	if (!pool)
		return false;
	thorough = has_repaired(&oracle->trace) || !(oracle->states % EVERY);
	if (thorough)
		dp_invariants(pool);
	fine = oracle_observe(oracle, pool, &oracle->again);
	oracle->seen = oracle->again;
	if (created && fine && (oracle->again.extents || oracle->again.objects))
		fine = wrong(oracle, "a new pool is not empty");
	oracle->seen.ready = !created;
	oracle->seen.unclean = before.unclean;
	oracle->seen.rdma = before.rdma;
	fine = fine && check_extents(oracle, &holes, &oracle->again) &&
	       check_holes(oracle, pool) &&
	       find_match(oracle, pool, candidate, count, ret_match);
	world_abandon(pool);
	fine = fine && check_copies(oracle);
	oracle->seen.ready = true;
	return fine && (!thorough || recover_again(oracle));
}

bool oracle_judge(struct oracle *oracle, const struct model *candidate,
		  uint32_t count, uint32_t *ret_match)
{
	uint64_t question = XXH3_64bits_withSeed(candidate, count * sizeof(*candidate),
						 media_sum);
	struct oracle_verdict *verdict = &oracle->verdict[question % ORACLE_VERDICTS];
	bool fine;

	if (count && verdict->question == question) {
		*ret_match = verdict->match;
		return true;
	}
	oracle->wrong[0] = '\0';
	oracle->states++;
	media_begin(&oracle->trace, false);
	fine = judge(oracle, candidate, count, ret_match);
	media_end(&oracle->trace);
	media_rewind(&oracle->trace);
	if (fine)
		*verdict = (struct oracle_verdict) { question, *ret_match };
	return fine;
}
