/* SPDX-License-Identifier: BSD-3-Clause */
#include "format.h"
#include "reader.h"

static bool is_unreadable(uint32_t file, uint64_t offset, uint64_t size)
{
	return machine_is_poisoned(file, offset, size) ||
	       (machine.kind != DP_SOURCE_SHMEM &&
		machine_is_bad(file, offset, size));
}

static const char *memory(uint32_t file)
{
	return machine_memory(file);
}

/* ------------------------------------------------------------- superblock */

static bool is_whole(const struct dp_super *super)
{
	return !memcmp(super->magic, "DAXPIN\r\n", 8) &&
	       super->check == format_super_check(super) &&
	       (super->version != 3 ||
		super->set_check == format_set_check(super));
}

/* Returns the newer of the two halves if one is valid, otherwise false. */
static bool newest(const char *halves, struct dp_super *ret_super)
{
	struct dp_super half;
	bool found = false;

	for (unsigned int i = 0; i < 2; i++) {
		memcpy(&half, halves + i * 4096, 4096);
		if (!is_whole(&half) || half.sequence % 2 != i ||
		    (found && half.sequence <= ret_super->sequence))
			continue;
		*ret_super = half;
		found = true;
	}
	return found;
}

/* *ret_lost: the superblock is lost, and its copy is used instead. */
static const char *read_super(uint32_t file, uint32_t how,
			      struct dp_super *ret_super, bool *ret_lost)
{
	uint64_t end = (1ull << 63) - (how & READER_READONLY ? 0 : 1 << 20);
	struct dp_super copy;
	bool whole;

	if (is_unreadable(file, 0, 8192) ||
	    is_unreadable(file, 0x1f0000, 8192))
		return "poison in a superblock";
	whole = newest(memory(file), ret_super);
	*ret_lost = newest(memory(file) + 0x1f0000, &copy) &&
		    (!whole || copy.sequence > ret_super->sequence);
	if (*ret_lost)
		*ret_super = copy;
	if (!whole && !*ret_lost)
		return "no half is whole";
	if (ret_super->version != 3)
		return "another version";
	return ret_super->sequence >= end || ret_super->epoch >= end ?
	       "sequence or epoch" : NULL;
}

static uint64_t size_of(const struct dp_super *super, uint32_t index)
{
	return super->short_size && index == super->short_index ?
	       super->short_size : super->segment_size;
}

static bool short_makes_sense(const struct dp_super *super)
{
	if (!super->short_size)
		return super->short_index == 0;
	return super->short_size >= 32 << 20 && super->short_size % (2 << 20) == 0 &&
	       super->short_size < super->segment_size &&
	       super->short_index < super->segments;
}

static const char *judge_geometry(const struct dp_super *super)
{
	uint64_t size = super->segment_size, sum = 0;

	if (size < 32 << 20 || size > 1 << 30 || size & (size - 1))
		return "segment size";
	if (!super->segments || super->segments > 16384)
		return "number of segments";
	if (!short_makes_sense(super))
		return "short segment";
	for (uint32_t i = 0; i < super->segments; i++)
		sum += size_of(super, i);
	if (super->pool_size < sum || super->pool_size - sum >= 32 << 20)
		return "size of the pool";
	for (uint32_t i = 0; i < 16384; i++)
		if ((super->segment_set[i / 8] >> i % 8 & 1) !=
		    (i < super->segments))
			return "segment set";
	return NULL;
}

static bool owner_makes_sense(const struct dp_owner *owner)
{
	if (!owner->pid || owner->pid > INT32_MAX || owner->flags & ~3u)
		return false;
	for (uint32_t i = 0; i < owner->contexts; i++)
		if (owner->context[i].flags & ~1u)
			return false;
	return true;
}

/* RDMA of a dead owner: NULL if none is left, or if this cannot be determined. */
static const char *judge_owner(const struct dp_owner *owner)
{
	if (!owner->contexts && !(owner->flags & 2))
		return NULL;
	if (!owner_makes_sense(owner))
		return "owner record";
	/* Boot ids of the machine are genuine. */
	if (owner->flags & 1 &&
	    memcmp(owner->boot_id, machine.boot_id, sizeof(machine.boot_id)))
		return NULL;
	return machine.has_rdma ? "verbs of the owner" : NULL;
}

/* ----------------------------------------------------- files and their times */

/* Are the file's attributes those that the superblock has recorded (docs/format.md)? */
static bool is_its_file(uint32_t file, const struct dp_super *super)
{
	const struct dp_file_id *id = &super->file;
	bool has_generation = machine.kind != DP_SOURCE_SHMEM;

	return id->known == (has_generation ? 7u : 5u) &&
	       id->generation ==
		       (has_generation ? MACHINE_GENERATION + file : 0) &&
	       id->inode == MACHINE_INODE_FIRST + file &&
	       id->birth_seconds == MACHINE_BIRTH_SECONDS &&
	       id->birth_ns == (uint32_t)machine_inode(file)->copies;
}

static void count_file(struct reading *reading, uint32_t index,
		       const struct dp_super *super)
{
	if (index && reading->super.flags & 16 &&
	    super->epoch < reading->super.epoch)
		return;
	if (is_its_file(index, super))
		reading->originals++;
	else
		reading->copies++;
}

static const char *judge_files(const struct reading *reading, uint32_t how)
{
	if (!reading->copies)
		return NULL;
	if (reading->originals)
		return "some files are copies, others originals";
	return reading->unclean && !(how & READER_ADOPT) ?
	       "a copy of an unclean pool" : NULL;
}

static const char *judge_time(const struct dp_super *first,
			      const struct dp_super *super)
{
	bool of_first = super->epoch == first->epoch &&
			super->open_id == first->open_id;
	bool of_before = super->epoch == first->before_epoch &&
			 super->open_id == first->before_open_id;

	if (first->flags & 8) {
		if (of_first || (super->epoch > first->before_epoch &&
				 super->epoch < first->epoch))
			return NULL;
		return of_before && super->epoch < first->epoch ? NULL :
		       "a segment of another open than the last two";
	}
	if (!of_first)
		return "a segment of another open";
	return !(first->flags & 1) && super->flags & 1 ?
	       "a segment that was not closed" : NULL;
}

static const char *judge_super(const struct reading *reading, uint32_t how)
{
	const struct dp_super *super = &reading->super;
	bool unknown = super->flags & DP_SUPER_OWNER_UNKNOWN || reading->lost;
	const char *refuse;

	if (super->flags & ~31u)
		return "flags";
	if (super->flags & DP_SUPER_CREATING)
		return "creating";
	if (super->owner.contexts > 20)
		return "number of verbs contexts";
	refuse = judge_geometry(super);
	if (refuse || (!unknown && !reading->unclean))
		return refuse;
	if (how & READER_READONLY)
		return "unclean";
	if (!is_its_file(0, super))
		return NULL;
	if (unknown)
		return machine.has_rdma ? "verbs of anybody" : NULL;
	return judge_owner(&super->owner);
}

/* --------------------------------------------------------------- segments */

static const char *judge_segment(struct reading *reading, uint32_t index,
				 uint32_t how)
{
	uint64_t size = size_of(&reading->super, index);
	const struct machine_inode *file;
	struct dp_super super;
	const char *refuse;
	bool lost;

	if (index >= MACHINE_FILES || !machine_inode(index)->there)
		return "a file is missing";
	file = machine_inode(index);
	if (file->size < size)
		return "a file is too short";
	refuse = read_super(index, how, &super, &lost);
	if (refuse)
		return refuse;
	if (super.index != index || super.size != size ||
	    memcmp(super.uuid, reading->super.uuid, 16))
		return "not the segment that belongs there";
	if (how & READER_READONLY &&
	    (lost || super.flags & DP_SUPER_OWNER_UNKNOWN))
		return "a superblock to be restored";
	if (super.epoch > reading->highest)
		reading->highest = super.epoch;
	count_file(reading, index, &super);
	return index ? judge_time(&reading->super, &super) : NULL;
}

/* ------------------------------------------------------------ page bitmaps */

/* The pages of each segment's table that are in use. */
static bool page_is_used[MACHINE_FILES][512];

static const char *judge_pages(const struct reading *reading, uint32_t segment)
{
	uint64_t segment_size = reading->super.segment_size, word;
	uint64_t pages = size_of(&reading->super, segment) / 4096 / 512;
	uint64_t first = segment * (segment_size / 4096);

	if (is_unreadable(segment, 0x2000, 11 * 8))
		return "poison in a page bitmap";
	memset(page_is_used[segment], 0, sizeof(page_is_used[segment]));
	for (uint32_t i = 0; i < 11; i++) {
		memcpy(&word, memory(segment) + 0x2000 + i * 8, 8);
		if (word != format_pages_sealed(reading->seed, first + i, word) ||
		    !(word >> 47 & 1))
			return "a word of a page bitmap";
		for (uint32_t bit = 0; bit < 47; bit++) {
			if (!(word >> bit & 1))
				continue;
			if (i * 47 + bit >= pages)
				return "a page past the table's end";
			page_is_used[segment][i * 47 + bit] = true;
		}
	}
	return NULL;
}

/*
 * A page in use must be readable, and a page that is not in use must not be known to be
 * bad.
 */
static const char *judge_poison(const struct reading *reading, uint32_t segment)
{
	uint64_t segment_size = reading->super.segment_size;
	uint64_t table = format_table_offset(segment_size);
	uint64_t pages = size_of(&reading->super, segment) / 4096 / 512;

	for (uint64_t page = 0; page < pages; page++) {
		uint64_t at = table + page * 4096;

		if (page_is_used[segment][page] && is_unreadable(segment, at, 4096))
			return "poison in a table";
		if (page >= format_meta_size(segment_size) / 4096 / 512 &&
		    machine.kind != DP_SOURCE_SHMEM &&
		    machine_is_bad(segment, at, 4096))
			return "a bad block in a table";
	}
	return NULL;
}

/* ------------------------------------------------------------------ lanes */

static void read_lane(uint32_t index, struct dp_lane *ret_lane)
{
	memcpy(ret_lane, memory(0) + 0x20000 + index * 4096, 4096);
}

static bool lane_is_whole(const struct reading *reading, uint32_t index,
			  const struct dp_lane *lane)
{
	return lane->count <= 248 &&
	       lane->check == format_lane_check(reading->seed, index, lane);
}

static bool is_open(const struct reading *reading, uint32_t index,
		    const struct dp_lane *lane)
{
	return lane_is_whole(reading, index, lane) &&
	       lane->sequence == lane->done + 1;
}

static bool is_damaged(const struct dp_lane *lane)
{
	return lane->sequence != lane->done &&
	       lane->sequence != lane->done + 1 &&
	       lane->sequence != lane->done - 1;
}

static uint32_t kind_of(uint64_t word)
{
	return word >> 18 & 3;
}

static uint64_t length_of(uint64_t word)
{
	return (word & 0x3ffff) + 1;
}

static bool is_slab_length(uint64_t word)
{
	return (word & 0xfff) == 15 && (word >> 12 & 63) < 40;
}

static bool is_descriptor(const struct reading *reading, uint64_t block_in_pool,
			  uint64_t word)
{
	if (word == ~0ull ||
	    word != format_word_sealed(reading->seed, block_in_pool, word))
		return false;
	return kind_of(word) == 1 ? length_of(word) == 1 :
	       kind_of(word) == 3 ? is_slab_length(word) : kind_of(word) == 2;
}

/* The block whose word is at that offset of the segment, found by trying all. */
static uint64_t block_at(uint64_t segment_size, uint64_t offset)
{
	uint64_t first = (offset - format_table_offset(segment_size)) / 4096 * 512;

	for (uint64_t block = first; block < first + 512; block++)
		if (format_word_offset(segment_size, block) == offset)
			return block;
	return 0;
}

/* Is that offset within the segment's table? */
static bool is_in_table(const struct reading *reading, uint32_t segment,
			uint64_t at)
{
	uint64_t begin = format_table_offset(reading->super.segment_size);

	return at >= begin &&
	       at < begin + size_of(&reading->super, segment) / 4096 * 8;
}

static bool is_table_word(const struct reading *reading, uint32_t segment,
			  uint64_t at, uint64_t word)
{
	uint64_t size = reading->super.segment_size;
	uint64_t block = block_at(size, at);

	return block >= format_meta_size(size) / 4096 &&
	       page_is_used[segment][block / 512] &&
	       is_descriptor(reading, segment * (size / 4096) + block, word);
}

/* Bit 47: the word names an object, by its address / 16. */
static bool names_object(uint64_t word)
{
	return word >> 47 & 1;
}

static bool names_nothing(uint64_t word)
{
	return !names_object(word) && !(word & 0xffffffff);
}

static bool is_root_word(const struct reading *reading, uint32_t slot,
			 uint64_t word)
{
	if (word != format_root_sealed(reading->seed, slot, word))
		return false;
	if (names_object(word))
		return !(word >> 40 & 0x7f) && (word & 0xffffffffff) >= 256;
	return !names_nothing(word) || !(word >> 32 & 0x7fff);
}

static bool is_word(const struct reading *reading,
		    const struct dp_lane_entry *entry)
{
	uint64_t size = reading->super.segment_size;
	uint64_t segment = entry->addr / size, at = entry->addr % size;

	if (entry->addr % 8 || segment >= reading->super.segments ||
	    at >= size_of(&reading->super, segment))
		return false;
	if (is_unreadable(segment, at, 8))
		return false;
	if (at >= format_meta_size(size))
		return true;
	if (is_in_table(reading, segment, at))
		return is_table_word(reading, segment, at, entry->value);
	return !segment && at >= 0x10000 && at < 0x20000 && at % 64 == 48 &&
	       is_root_word(reading, (at - 0x10000) / 64, entry->value);
}

/* Contents of tables and roots after the open lanes were replayed. */
static char table_now[MACHINE_FILES][0x200000];
static char roots_now[0x10000];
/* Words elsewhere that lanes set, in the order of the entries. */
static struct dp_lane_entry set_now[64 * 248];
static uint32_t sets_now;

static void replay(const struct reading *reading,
		   const struct dp_lane_entry *entry)
{
	uint64_t segment = entry->addr / reading->super.segment_size;
	uint64_t at = entry->addr % reading->super.segment_size;

	if (at >= format_meta_size(reading->super.segment_size))
		set_now[sets_now++] = *entry;
	else if (is_in_table(reading, segment, at))
		memcpy(table_now[segment] + at -
		       format_table_offset(reading->super.segment_size),
		       &entry->value, 8);
	else
		memcpy(roots_now + at - 0x10000, &entry->value, 8);
}

void reader_expect_set(const struct reading *reading)
{
	uint64_t size = reading->super.segment_size;

	for (uint32_t i = sets_now; i--;) {
		struct dp_lane_entry *set = &set_now[i];
		bool last = true;

		for (uint32_t j = i + 1; j < sets_now; j++)
			last = last && set_now[j].addr != set->addr;
		expect(!last || !memcmp(memory(set->addr / size) +
					set->addr % size, &set->value, 8),
		       "a lane's SET at 0x%llx was not done",
		       (unsigned long long)set->addr);
	}
}

static const char *judge_lanes(struct reading *reading, uint32_t how)
{
	struct dp_lane lane;

	if (is_unreadable(0, 0x20000, 64 * 4096))
		return "poison in a lane";
	for (uint32_t i = 0; i < 64; i++) {
		read_lane(i, &lane);
		if (is_damaged(&lane))
			return "a damaged lane";
		if (!is_open(reading, i, &lane))
			continue;
		for (uint32_t j = 0; j < lane.count; j++) {
			if (!is_word(reading, &lane.entry[j]))
				return "a lane changes something that is not a word";
			replay(reading, &lane.entry[j]);
		}
		reading->entries += lane.count;
	}
	return reading->entries && how & READER_READONLY ? "an open lane" : NULL;
}

/* ----------------------------------------------------------------- tables */

/* The contents of a page that is not in use are ignored: all its words are FREE. */
static uint64_t word_at(const struct reading *reading, uint32_t segment,
			uint64_t block, bool *ret_right)
{
	uint64_t size = reading->super.segment_size;
	uint64_t first = segment * (size / 4096), word = 1 << 18;

	*ret_right = true;
	if (!page_is_used[segment][block / 512])
		return word;
	memcpy(&word, table_now[segment] + format_word_offset(size, block) -
		      format_table_offset(size), 8);
	*ret_right = word == format_word_sealed(reading->seed, first + block,
						word);
	return word;
}

static const char *judge_table(const struct reading *reading, uint32_t segment)
{
	uint64_t blocks = size_of(&reading->super, segment) / 4096;
	uint64_t end = 0;		/* of the last extent */
	uint64_t block = format_meta_size(reading->super.segment_size) / 4096;
	bool right;

	for (; block < blocks; block++) {
		uint64_t word = word_at(reading, segment, block, &right);

		if (!right || kind_of(word) < 1)
			return "a word fails its check";
		if (kind_of(word) == 1 && length_of(word) != 1)
			return "a long FREE";
		if (kind_of(word) == 3 && !is_slab_length(word))
			return "a slab of another length or class";
		if (kind_of(word) > 1 && block < end)
			return "extents overlap";
		if (kind_of(word) > 1)
			end = block + (kind_of(word) == 3 ? 16 : length_of(word));
		if (end > blocks)
			return "an extent past the end";
	}
	return NULL;
}

/* ------------------------------------------------------------------ slabs */

struct slab {
	uint32_t size, objects, words, first;
};

/* How the slabs of a class are divided, found by trying all numbers of objects. */
static struct slab slab_of(uint32_t class)
{
	struct slab slab = { 16, 0, 0, 0 };

	for (uint32_t i = 0; i < class; i++)
		slab.size += slab.size < 256 ? 16 : slab.size < 512 ? 32 :
			     slab.size < 1024 ? 64 : 128;
	for (uint32_t objects = 1; objects <= 4096; objects++) {
		uint32_t words = (objects + 46) / 47, first = (words * 8 + 63) & ~63u;

		if (first + objects * slab.size <= 65536)
			slab = (struct slab) { slab.size, objects, words, first };
	}
	return slab;
}

/* A word of a slab as it will be when the open lanes are applied. */
static uint64_t slab_word(const struct reading *reading, uint64_t addr)
{
	uint64_t size = reading->super.segment_size, word;

	memcpy(&word, memory(addr / size) + addr % size, 8);
	for (uint32_t i = 0; i < sets_now; i++)
		if (set_now[i].addr == addr)
			word = set_now[i].value;
	return word;
}

static bool is_slab_word(const struct reading *reading, const struct slab *slab,
			 uint64_t addr, uint32_t index)
{
	uint64_t word = slab_word(reading, addr + index * 8);

	if (!(word >> 47 & 1) ||
	    word != format_slab_sealed(reading->seed, addr + index * 8, word))
		return false;
	for (uint32_t bit = 0; bit < 47; bit++)
		if (word >> bit & 1 && index * 47 + bit >= slab->objects)
			return false;
	return true;
}

static const char *judge_slabs(const struct reading *reading, uint32_t segment)
{
	uint64_t size = reading->super.segment_size;
	uint64_t blocks = size_of(&reading->super, segment) / 4096;
	bool right;

	for (uint64_t block = format_meta_size(size) / 4096; block < blocks; block++) {
		uint64_t word = word_at(reading, segment, block, &right);
		uint64_t addr = segment * size + block * 4096;
		struct slab slab;

		if (kind_of(word) != 3)
			continue;
		slab = slab_of(word >> 12 & 63);
		if (is_unreadable(segment, block * 4096, slab.words * 8))
			return "poison in the words of a slab";
		for (uint32_t i = 0; i < slab.words; i++)
			if (!is_slab_word(reading, &slab, addr, i))
				return "a word of a slab";
	}
	return NULL;
}

bool reader_next_object(const struct reading *reading, uint64_t *at,
			struct reader_object *ret_object)
{
	uint64_t size = reading->super.segment_size;
	bool right;

	for (; *at / size < reading->super.segments; *at = (*at | 4095) + 1) {
		uint64_t block = *at % size / 4096, word, begin = *at & ~4095ull;
		uint32_t segment = *at / size;
		struct slab slab;

		if (block < format_meta_size(size) / 4096 ||
		    block >= size_of(&reading->super, segment) / 4096)
			continue;
		word = word_at(reading, segment, block, &right);
		if (kind_of(word) != 3)
			continue;
		slab = slab_of(word >> 12 & 63);
		/* *at is in the first block of a slab: its low bits count objects. */
		for (uint32_t i = *at & 4095; i < slab.objects; i++) {
			if (!(slab_word(reading, begin + i / 47 * 8) >> i % 47 & 1))
				continue;
			*ret_object = (struct reader_object) {
				begin + slab.first + i * slab.size, slab.size
			};
			*at = begin + i + 1;
			return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------ roots */

static bool is_name(const char name[48])
{
	size_t length = strnlen(name, 48);

	for (size_t i = length; i < 48; i++)
		if (name[i])
			return false;
	return length && length < 48;
}

static const char *judge_roots(const struct reading *reading)
{
	struct dp_root root;

	if (is_unreadable(0, 0x10000, 0x10000))
		return "poison in the roots";
	for (uint32_t i = 0; i < 1024; i++) {
		memcpy(&root, roots_now + i * 64, 64);
		if (!is_root_word(reading, i, root.word))
			return "a root word";
		if (names_nothing(root.word))
			continue;
		if (root.name_check != format_name_check(reading->seed, i,
							 root.name) ||
		    !is_name(root.name))
			return "a root's name";
	}
	return NULL;
}

static bool root_in(const void *roots, uint32_t slot,
		    struct reader_root *ret_root)
{
	struct dp_root root;

	memcpy(&root, (const char *)roots + slot * 64, 64);
	if (names_nothing(root.word))
		return false;
	memcpy(ret_root->name, root.name, 48);
	ret_root->object = names_object(root.word);
	ret_root->addr = ret_root->object ? (root.word & 0xffffffffff) * 16 :
					    (root.word & 0xffffffff) * 4096;
	ret_root->gen = ret_root->object ? 0 : root.word >> 32 & 0x7fff;
	return true;
}

bool reader_root(uint32_t slot, struct reader_root *ret_root)
{
	return root_in(roots_now, slot, ret_root);
}

bool reader_root_on_media(uint32_t slot, struct reader_root *ret_root)
{
	return root_in(memory(0) + 0x10000, slot, ret_root);
}

bool reader_root_is_intact(const uint8_t uuid[16], uint32_t slot)
{
	const struct reading reading = { .seed = format_seed(uuid) };
	struct dp_root root;

	if (is_unreadable(0, (0x10000 + slot * 64) & ~4095u, 4096))
		return false;
	memcpy(&root, memory(0) + 0x10000 + slot * 64, 64);
	return is_root_word(&reading, slot, root.word) && is_name(root.name) &&
	       root.name_check == format_name_check(reading.seed, slot, root.name);
}

/* -------------------------------------------------------------------- all */

static void copy_metadata(const struct reading *reading)
{
	for (uint32_t i = 0; i < reading->super.segments; i++)
		memcpy(table_now[i], memory(i) + format_table_offset(
					     reading->super.segment_size),
		       size_of(&reading->super, i) / 4096 * 8);
	memcpy(roots_now, memory(0) + 0x10000, sizeof(roots_now));
}

static const char *judge_content(struct reading *reading, uint32_t how)
{
	const char *refuse = NULL;

	sets_now = 0;
	copy_metadata(reading);
	for (uint32_t i = 0; !refuse && i < reading->super.segments; i++)
		refuse = judge_pages(reading, i);
	for (uint32_t i = 0; !refuse && i < reading->super.segments; i++)
		refuse = judge_poison(reading, i);
	if (!refuse)
		refuse = judge_lanes(reading, how);
	for (uint32_t i = 0; !refuse && i < reading->super.segments; i++)
		refuse = judge_table(reading, i);
	for (uint32_t i = 0; !refuse && i < reading->super.segments; i++)
		refuse = judge_slabs(reading, i);
	return refuse ? refuse : judge_roots(reading);
}

static const char *judge(uint32_t how, struct reading *reading)
{
	const struct machine_inode *first = machine_inode(0);
	const char *refuse;

	if (!first->there || first->size < 2 << 20)
		return "no segment 0";
	if (machine.locked_elsewhere)
		return "locked";
	refuse = read_super(0, how, &reading->super, &reading->lost);
	if (refuse)
		return refuse;
	reading->seed = format_seed(reading->super.uuid);
	reading->unclean = reading->super.flags & 5 || reading->lost;
	refuse = judge_super(reading, how);
	for (uint32_t i = 0; !refuse && i < reading->super.segments; i++)
		refuse = judge_segment(reading, i, how);
	if (!refuse)
		refuse = judge_files(reading, how);
	if (!refuse && machine.kind == DP_SOURCE_FSDAX && reading->unclean &&
	    how & READER_IMPATIENT)
		refuse = "no barrier with a deadline";
	return refuse ? refuse : judge_content(reading, how);
}

void reader_read(uint32_t how, struct reading *ret_reading)
{
	memset(ret_reading, 0, sizeof(*ret_reading));
	ret_reading->refuse = judge(how, ret_reading);
}

bool reader_next(const struct reading *reading, uint64_t *at,
		 struct reader_extent *ret_extent)
{
	uint64_t segment_size = reading->super.segment_size;
	bool right;

	for (; *at / segment_size < reading->super.segments; *at += 4096) {
		uint32_t segment = *at / segment_size;
		uint64_t block = *at % segment_size / 4096, word;

		if (block < format_meta_size(segment_size) / 4096 ||
		    block >= size_of(&reading->super, segment) / 4096)
			continue;
		word = word_at(reading, segment, block, &right);
		if (kind_of(word) != 2)
			continue;
		*ret_extent = (struct reader_extent) {
			*at, length_of(word) * 4096, word >> 36
		};
		*at += ret_extent->size;
		return true;
	}
	return false;
}
