/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <string.h>
#include "media.h"
#include "model.h"

#define BLOCK	4096ull
#define MIB	(1ull << 20)

/* Offsets of a block that are written and checked: where its lines begin and end. */
static const uint16_t marked[] = { 0, 8, 64, 2048, 4088 };
#define MARKS	(sizeof(marked) / sizeof(marked[0]))

uint64_t model_payload(uint64_t addr, uint32_t gen, uint64_t offset)
{
	uint64_t z = addr * 0x9e3779b97f4a7c15ull + gen;

	z = (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull + offset;
	z = (z ^ z >> 32) * 0x94d049bb133111ebull;
	return z | 1;
}

/* Of large extents only the first and the last block are used. */
uint64_t model_next_offset(uint64_t offset, uint64_t size)
{
	uint64_t block = offset / BLOCK, in = offset % BLOCK;

	for (uint32_t i = 0; i < MARKS; i++)
		if (marked[i] > in)
			return block * BLOCK + marked[i];
	block++;
	if (size > MIB && block * BLOCK < size - BLOCK)
		block = size / BLOCK - 1;
	return block * BLOCK;
}

#define TAG_PREFIX	0x0b1ec70000000000ull

uint64_t model_object_payload(uint64_t addr, uint32_t tag, uint64_t offset)
{
	return offset ? model_payload(addr, tag, offset) : TAG_PREFIX | tag;
}

bool model_object_tag(uint64_t first, uint32_t *ret_tag)
{
	*ret_tag = first;
	return (first & ~(uint64_t)UINT32_MAX) == TAG_PREFIX;
}

const char *model_root_name(uint32_t root)
{
	static const char *const name[MODEL_ROOTS] = {
		"a", "index", "the-third-of-the-roots", "d",
		"a-name-of-the-length-that-is-just-the-longest--",
		"f",
	};

	assert(root < MODEL_ROOTS);
	return name[root];
}

/* ------------------------------------------------------------------- lists */

static uint32_t place_of(const struct model *model, uint64_t addr)
{
	uint32_t i = 0;

	while (i < model->extents && model->extent[i].addr < addr)
		i++;
	return i;
}

const struct model_extent *model_find(const struct model *model, uint64_t addr)
{
	uint32_t i = place_of(model, addr);

	return i < model->extents && model->extent[i].addr == addr ?
	       &model->extent[i] : NULL;
}

bool model_add_extent(struct model *model, uint64_t addr, uint32_t blocks,
		      uint32_t gen, bool loose)
{
	uint32_t i = place_of(model, addr);
	struct model_extent *it = &model->extent[i];

	if (model->extents == MODEL_EXTENTS)
		return false;
	/* Does the new extent overlap one of its neighbours? */
	if (i && it[-1].addr + it[-1].blocks * BLOCK > addr)
		return false;
	if (i < model->extents && addr + blocks * BLOCK > it->addr)
		return false;
	memmove(it + 1, it, (model->extents++ - i) * sizeof(*it));
	memset(it, 0, sizeof(*it));
	*it = (struct model_extent) { addr, blocks, gen, loose };
	return true;
}

static void remove_words(struct model *model, uint64_t addr, uint64_t end)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < model->words; i++)
		if (model->word[i].addr < addr || model->word[i].addr >= end)
			model->word[kept++] = model->word[i];
	memset(&model->word[kept], 0,
	       (model->words - kept) * sizeof(model->word[0]));
	model->words = kept;
}

static void remove_extent(struct model *model, uint64_t addr)
{
	uint32_t i = place_of(model, addr);
	struct model_extent *it = &model->extent[i];

	remove_words(model, addr, addr + it->blocks * BLOCK);
	memmove(it, it + 1, (--model->extents - i) * sizeof(*it));
	memset(&model->extent[model->extents], 0, sizeof(*it));
}

static uint32_t object_place(const struct model *model, uint64_t addr)
{
	uint32_t i = 0;

	while (i < model->objects && model->object[i].addr < addr)
		i++;
	return i;
}

static const struct model_object *find_object(const struct model *model, uint64_t addr)
{
	uint32_t i = object_place(model, addr);

	return i < model->objects && model->object[i].addr == addr ?
	       &model->object[i] : NULL;
}

static bool overlaps_extent(const struct model *model, uint64_t addr, uint64_t end)
{
	for (uint32_t i = 0; i < model->extents; i++) {
		const struct model_extent *it = &model->extent[i];

		if (addr < it->addr + it->blocks * BLOCK && it->addr < end)
			return true;
	}
	return false;
}

bool model_add_object(struct model *model, uint64_t addr, uint32_t size,
		      uint32_t tag)
{
	uint32_t i = object_place(model, addr);
	struct model_object *it = &model->object[i];

	if (model->objects == MODEL_OBJECTS ||
	    overlaps_extent(model, addr, addr + size))
		return false;
	if ((i && it[-1].addr + it[-1].size > addr) ||
	    (i < model->objects && addr + size > it->addr))
		return false;
	memmove(it + 1, it, (model->objects++ - i) * sizeof(*it));
	*it = (struct model_object) { addr, size, tag };
	return true;
}

static bool free_object(struct model *model, const struct effect *effect)
{
	uint32_t i = object_place(model, effect->addr);
	struct model_object *it = &model->object[i];

	if (!find_object(model, effect->addr) || it->tag != effect->gen)
		return false;
	remove_words(model, it->addr, it->addr + it->size);
	memmove(it, it + 1, (--model->objects - i) * sizeof(*it));
	memset(&model->object[model->objects], 0, sizeof(*it));
	return true;
}

/* Adds a word to a list that is sorted by address, or changes it. */
static bool put(struct model_word *word, uint32_t *count, uint32_t max,
		uint64_t addr, uint64_t value)
{
	uint32_t i = 0;

	while (i < *count && word[i].addr < addr)
		i++;
	if (i == *count || word[i].addr != addr) {
		if (*count == max)
			return false;
		memmove(&word[i + 1], &word[i], ((*count)++ - i) * sizeof(*word));
	}
	word[i] = (struct model_word) { addr, value };
	return true;
}

bool model_add_word(struct model *model, uint64_t addr, uint64_t value)
{
	return put(model->word, &model->words, MODEL_WORDS, addr, value);
}

void model_clear_space(struct model *model)
{
	memset(model->extent, 0, sizeof(model->extent));
	memset(model->end, 0, sizeof(model->end));
	memset(model->word, 0, sizeof(model->word));
	memset(model->root, 0, sizeof(model->root));
	memset(model->object, 0, sizeof(model->object));
	model->extents = model->ended = model->words = model->objects = 0;
}

/* ----------------------------------------------------------------- effects */

bool model_is_sound(const struct model *model)
{
	for (uint32_t i = 0; i < MODEL_ROOTS; i++)
		if (model->root[i] && !model_find(model, model->root[i]) &&
		    !find_object(model, model->root[i]))
			return false;
	return true;
}

static bool retire(struct model *model, const struct effect *effect)
{
	const struct model_extent *it = model_find(model, effect->addr);
	uint32_t gen;

	if (!it || it->gen != effect->gen)
		return false;
	gen = it->gen;
	remove_extent(model, effect->addr);
	return put(model->end, &model->ended, MODEL_ENDED, effect->addr,
		   gen + 1);
}

static bool set(struct model *model, const struct effect *effect)
{
	for (uint32_t i = 0; i < model->extents; i++) {
		const struct model_extent *it = &model->extent[i];

		if (it->gen == effect->gen && effect->addr >= it->addr &&
		    effect->addr < it->addr + it->blocks * BLOCK)
			return model_add_word(model, effect->addr,
					      effect->value);
	}
	for (uint32_t i = 0; i < model->objects; i++) {
		const struct model_object *it = &model->object[i];

		if (it->tag == effect->gen && effect->addr >= it->addr &&
		    effect->addr < it->addr + it->size)
			return model_add_word(model, effect->addr, effect->value);
	}
	return false;
}

static bool was_read(const struct model *model, const struct effect *effect)
{
	for (uint32_t i = 0; i < model->words; i++)
		if (model->word[i].addr == effect->addr)
			return model->word[i].value == effect->value;
	return false;
}

/* The short segment is the last one of a create, and a shrink may remove it. */
static void count_segments(struct model *model, uint32_t segments)
{
	model->segments = segments;
	model->bytes = segments * media_segment_size;
	if (model->short_end > segments)
		model->short_end = 0;
	if (model->short_end)
		model->bytes -= media_segment_size - media_last_size();
}

/* A grow or a shrink. Nothing lives in segments that are removed; their blocks have no
 * generation any more. */
static bool set_segments(struct model *model, uint32_t segments)
{
	uint64_t end = segments * media_segment_size;

	if (model->extents && model->extent[model->extents - 1].addr >= end)
		return false;
	while (model->ended && model->end[model->ended - 1].addr >= end)
		model->end[--model->ended] = (struct model_word) { 0, 0 };
	count_segments(model, segments);
	return model->ready;
}

static bool change_owner(struct model *model, const struct effect *effect)
{
	switch (effect->what) {
	case EFFECT_OPEN:
		model->unclean = true;
		model->rdma = 0;
		model->epoch = effect->value;
		return model->ready;
	case EFFECT_CLOSE:
		model->unclean = false;
		model->rdma = 0;
		return model->ready;
	case EFFECT_RDMA:
		model->rdma++;
		return model->ready;
	case EFFECT_NO_RDMA:
		model->rdma--;
		return model->ready;
	case EFFECT_SEGMENTS:
		return set_segments(model, effect->value);
	case EFFECT_DESTROY:
		model->ready = false;
		model->short_end = 0;
		count_segments(model, 0);
		model->unclean = false;
		model->rdma = 0;
		model_clear_space(model);
		return true;
	default:
		model->owners++;
		model->short_end = effect->blocks;
		count_segments(model, effect->blocks);
		model->ready = true;
		return true;
	}
}

static bool keep(struct model *model, const struct effect *effect)
{
	uint64_t size = effect->blocks * BLOCK;

	if (!model_add_extent(model, effect->addr, effect->blocks, effect->gen,
			      effect->loose))
		return false;
	for (uint64_t at = 0; effect->zeroed && at < size;
	     at = model_next_offset(at, size))
		if (!model_add_word(model, effect->addr + at, 0))
			return false;
	return true;
}

bool model_apply(struct model *model, const struct effect *effect)
{
	switch (effect->what) {
	case EFFECT_KEEP:
		return keep(model, effect);
	case EFFECT_RETIRE:
		return retire(model, effect);
	case EFFECT_OBJECT_KEEP:
		return model_add_object(model, effect->addr, effect->size, effect->gen);
	case EFFECT_OBJECT_FREE:
		return free_object(model, effect);
	case EFFECT_SET:
		return set(model, effect);
	case EFFECT_READ:
		return was_read(model, effect);
	case EFFECT_ROOT:
		model->root[effect->root] = effect->addr;
		return true;
	default:
		return change_owner(model, effect);
	}
}
