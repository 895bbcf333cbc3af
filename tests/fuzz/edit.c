/* SPDX-License-Identifier: BSD-3-Clause */
#include "edit.h"
#include "format.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))
#define FIELD(type, name) \
	{ #name, offsetof(type, name), sizeof(((type *)0)->name) }

struct field {
	const char *name;
	uint16_t offset;
	uint16_t size;
};

static const struct field super_fields[] = {
	FIELD(struct dp_super, flags),
	FIELD(struct dp_super, segment_size),
	FIELD(struct dp_super, size),
	FIELD(struct dp_super, pool_size),
	FIELD(struct dp_super, index),
	FIELD(struct dp_super, segments),
	FIELD(struct dp_super, segment_set),
	FIELD(struct dp_super, sequence),
	FIELD(struct dp_super, epoch),
	FIELD(struct dp_super, version),
	FIELD(struct dp_super, magic),
	FIELD(struct dp_super, uuid),
	FIELD(struct dp_super, owner.boot_id),
	FIELD(struct dp_super, owner.pid_namespace),
	FIELD(struct dp_super, owner.time_namespace),
	FIELD(struct dp_super, owner.start_time),
	FIELD(struct dp_super, owner.pid),
	FIELD(struct dp_super, owner.flags),
	FIELD(struct dp_super, owner.contexts),
	FIELD(struct dp_super, owner.context),
	FIELD(struct dp_super, nvdimms),
	FIELD(struct dp_super, dirty_shutdowns),
	FIELD(struct dp_super, zero),
	FIELD(struct dp_super, check),
	FIELD(struct dp_super, open_id),
	FIELD(struct dp_super, before_epoch),
	FIELD(struct dp_super, before_open_id),
	FIELD(struct dp_super, file.known),
	FIELD(struct dp_super, file.generation),
	FIELD(struct dp_super, file.inode),
	FIELD(struct dp_super, file.birth_seconds),
	FIELD(struct dp_super, file.birth_ns),
	FIELD(struct dp_super, file.zero),
	FIELD(struct dp_super, set_check),
	FIELD(struct dp_super, short_size),
	FIELD(struct dp_super, short_index),
};

static const struct field lane_fields[] = {
	FIELD(struct dp_lane, sequence),
	FIELD(struct dp_lane, done),
	FIELD(struct dp_lane, count),
	FIELD(struct dp_lane, epoch),
	FIELD(struct dp_lane, zero_0),
	FIELD(struct dp_lane, check),
	FIELD(struct dp_lane, zero_1),
	FIELD(struct dp_lane, zero_2),
	FIELD(struct dp_lane_entry, addr),	/* and the next: of an entry */
	FIELD(struct dp_lane_entry, value),
};

#define LANE_FIELDS_OF_ENTRY 8

static char *memory(uint32_t file)
{
	return machine_memory(file);
}

static uint32_t newer_half(const char *halves)
{
	const struct dp_super *half = (const void *)halves;

	return half[1].sequence > half[0].sequence;
}

/* Segment 0's superblock as it is now, damaged or not. */
static const struct dp_super *pool_super(void)
{
	const struct dp_super *half = (const void *)memory(0);

	return &half[newer_half(memory(0))];
}

static uint64_t seed_now(void)
{
	return format_seed(pool_super()->uuid);
}

static uint64_t block_in_pool(uint32_t file, uint64_t block)
{
	return block + file * (pool_super()->segment_size / DP_BLOCK_SIZE);
}

static void put_field(void *to, const struct field *field, uint32_t index,
		      uint64_t value)
{
	char *at = (char *)to + field->offset;

	if (field->size <= 8)
		memcpy(at, &value, field->size);
	else
		at[index % field->size] = (char)value;
}

/* ------------------------------------------------------------- superblock */

static void put_half(const struct edit *edit, uint32_t file, uint64_t offset)
{
	const struct field *field = &super_fields[edit->field %
						  COUNT(super_fields)];
	struct dp_super super;

	fuzz_log("  file %u, superblock half at 0x%llx: %s[%u] = 0x%llx%s", file,
		 (unsigned long long)offset, field->name, edit->index,
		 (unsigned long long)edit->value,
		 edit->flags & EDIT_SEAL ? ", sealed" : "");
	memcpy(&super, memory(file) + offset, sizeof(super));
	put_field(&super, field, edit->index, edit->value);
	/* The check of the set may be damaged while the check of the rest is right. */
	if (edit->flags & EDIT_SEAL &&
	    field->offset != offsetof(struct dp_super, set_check))
		super.set_check = format_set_check(&super);
	if (edit->flags & EDIT_SEAL)
		super.check = format_super_check(&super);
	machine_write(file, offset, &super, sizeof(super));
}

/*
 * 0: the newer half of the superblock and of its copy. 1, 2: the newer of one of
 * them. 3, 4: the older of one. 5: all four.
 */
static void edit_super(const struct edit *edit, uint32_t file)
{
	static const uint64_t places[] = { DP_SUPER_OFFSET, DP_COPY_OFFSET };
	uint32_t which = EDIT_WHICH(edit->flags) % 6;

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t newer = newer_half(memory(file) + places[i]);
		uint64_t half = sizeof(struct dp_super);

		if (which == 5 || which == 0 || which == 1 + i)
			put_half(edit, file, places[i] + newer * half);
		if (which == 5 || which == 3 + i)
			put_half(edit, file, places[i] + !newer * half);
	}
}

/* ------------------------------------------------------------ page bitmap */

static uint64_t pages_offset(uint32_t index)
{
	return DP_PAGES_OFFSET + index * sizeof(uint64_t);
}

static uint64_t pages_word(uint32_t file, uint32_t index)
{
	uint64_t word;

	memcpy(&word, memory(file) + pages_offset(index), sizeof(word));
	return word;
}

static void put_pages(uint32_t file, uint32_t index, uint64_t word)
{
	machine_write(file, pages_offset(index), &word, sizeof(word));
}

/* A page of the table whose words are all FREE, generation 0. */
static void format_page(uint32_t file, uint32_t page)
{
	uint64_t first = page * (uint64_t)DP_PAGE_WORDS, word;

	for (uint64_t b = first; b < first + DP_PAGE_WORDS; b++) {
		word = format_word_sealed(seed_now(), block_in_pool(file, b),
					  1ull << DP_WORD_KIND_SHIFT);
		machine_write(file, format_word_offset(
				      pool_super()->segment_size, b),
			      &word, sizeof(word));
	}
}

static void use_page(uint32_t file, uint32_t page)
{
	uint32_t index = page / DP_PAGES_WORD_BITS;
	uint64_t word = pages_word(file, index);
	uint64_t bit = 1ull << page % DP_PAGES_WORD_BITS;

	if (word & bit)
		return;
	format_page(file, page);
	put_pages(file, index, format_pages_sealed(seed_now(),
						   block_in_pool(file, index),
						   word | bit));
}

/* Fields: the word; bits to set; bits to clear. */
static void edit_pages(const struct edit *edit, uint32_t file)
{
	uint32_t index = edit->index % DP_PAGES_WORDS;
	uint64_t bits = (1ull << DP_PAGES_WORD_BITS) - 1, word, was;

	was = pages_word(file, index);
	word = edit->field % 3 == 0 ? edit->value :
	       edit->field % 3 == 1 ? was | (edit->value & bits) :
				      was & ~(edit->value & bits);
	for (uint32_t i = 0; i < DP_PAGES_WORD_BITS; i++)
		if (edit->flags & EDIT_USE && word & ~was & 1ull << i)
			use_page(file, index * DP_PAGES_WORD_BITS + i);
	if (edit->flags & EDIT_SEAL)
		word = format_pages_sealed(seed_now(),
					   block_in_pool(file, index), word);
	fuzz_log("  file %u, page bitmap, word %u: 0x%016llx%s", file, index,
		 (unsigned long long)word,
		 edit->flags & EDIT_SEAL ? ", sealed" : "");
	put_pages(file, index, word);
}

/* ------------------------------------------------------- words and roots */

static const struct {
	const char *name;
	uint32_t shift;
	uint64_t mask;
} word_fields[] = {
	{ "word", 0, ~0ull },
	{ "kind", DP_WORD_KIND_SHIFT, DP_WORD_KIND_MASK },
	{ "length - 1", 0, (1ull << DP_WORD_LENGTH_BITS) - 1 },
	{ "generation", DP_WORD_GEN_SHIFT, DP_WORD_GEN_MASK },
	{ "check", DP_WORD_CHECK_SHIFT, DP_WORD_CHECK_MASK },
};

static void edit_word(const struct edit *edit, uint32_t file)
{
	uint64_t block = edit->index % (DP_SEGMENT_SIZE_MAX / DP_BLOCK_SIZE);
	uint64_t offset = format_word_offset(pool_super()->segment_size, block);
	uint32_t at = edit->field % COUNT(word_fields);
	uint64_t mask = word_fields[at].mask;
	uint32_t shift = word_fields[at].shift;
	uint64_t raw;

	if (edit->flags & EDIT_USE)
		use_page(file, block / DP_PAGE_WORDS);
	memcpy(&raw, memory(file) + offset, sizeof(raw));
	raw = (raw & ~(mask << shift)) | (edit->value & mask) << shift;
	if (edit->flags & EDIT_SEAL)
		raw = format_word_sealed(seed_now(), block_in_pool(file, block),
					 raw);
	fuzz_log("  file %u, block %llu: %s = 0x%llx%s: 0x%016llx", file,
		 (unsigned long long)block, word_fields[at].name,
		 (unsigned long long)(edit->value & mask),
		 edit->flags & EDIT_SEAL ? ", sealed" : "",
		 (unsigned long long)raw);
	machine_write(file, offset, &raw, sizeof(raw));
}

static uint64_t root_offset(uint32_t slot)
{
	return DP_ROOTS_OFFSET + slot * sizeof(struct dp_root);
}

/* Fields: the word, bytes of the name, the name's check. */
static void edit_root(const struct edit *edit, uint32_t file)
{
	uint32_t slot = edit->index % DP_ROOTS, name = edit->index >> 16;
	struct dp_root root;

	memcpy(&root, memory(file) + root_offset(slot), sizeof(root));
	switch (edit->field % 3) {
	case 0:
		root.word = edit->value;
		break;
	case 1:
		memcpy(root.name + name % (DP_ROOT_NAME_MAX - 7), &edit->value,
		       8);
		break;
	case 2:
		root.name_check = edit->value;
		break;
	}
	if (edit->flags & EDIT_SEAL && edit->field % 3)
		root.name_check = format_name_check(seed_now(), slot, root.name);
	else if (edit->flags & EDIT_SEAL)
		root.word = format_root_sealed(seed_now(), slot, root.word);
	fuzz_log("  file %u, root %u: field %u = 0x%llx; word 0x%016llx", file,
		 slot, edit->field % 3, (unsigned long long)edit->value,
		 (unsigned long long)root.word);
	machine_write(file, root_offset(slot), &root, sizeof(root));
}

/* ------------------------------------------------------------------ lanes */

static uint64_t lane_offset(uint32_t lane)
{
	return DP_LANES_OFFSET + lane * sizeof(struct dp_lane);
}

static void put_lane(const struct edit *edit, uint32_t file, uint32_t index,
		     struct dp_lane *lane)
{
	if (edit->flags & EDIT_SEAL)
		lane->check = format_lane_check(seed_now(), index, lane);
	machine_write(file, lane_offset(index), lane, sizeof(*lane));
}

static void edit_lane(const struct edit *edit, uint32_t file)
{
	uint32_t index = edit->index % DP_LANES;
	uint32_t entry = (edit->index >> 16) % DP_LANE_ENTRIES;
	uint32_t at = edit->field % COUNT(lane_fields);
	struct dp_lane lane;
	void *to = at < LANE_FIELDS_OF_ENTRY ? (void *)&lane :
		   (void *)&lane.entry[entry];

	memcpy(&lane, memory(file) + lane_offset(index), sizeof(lane));
	put_field(to, &lane_fields[at], entry, edit->value);
	fuzz_log("  file %u, lane %u, entry %u: %s = 0x%llx%s", file, index,
		 entry, lane_fields[at].name, (unsigned long long)edit->value,
		 edit->flags & EDIT_SEAL ? ", sealed" : "");
	put_lane(edit, file, index, &lane);
}

/* Adds the entry, and marks the lane as committed, so that an open replays it. */
static void add_entry(const struct edit *edit, uint64_t addr, uint64_t value)
{
	uint32_t index = edit->index % DP_LANES;
	uint32_t entry = (edit->index >> 16) % DP_LANE_ENTRIES;
	struct dp_lane lane;

	memcpy(&lane, memory(0) + lane_offset(index), sizeof(lane));
	lane.entry[entry] = (struct dp_lane_entry) { addr, value };
	if (lane.count <= entry)
		lane.count = entry + 1;
	if (lane.sequence <= lane.done)
		lane.sequence = lane.done + 1;
	lane.epoch = pool_super()->epoch;
	fuzz_log("  lane %u, entry %u: 0x%016llx at 0x%llx", index, entry,
		 (unsigned long long)value, (unsigned long long)addr);
	put_lane(edit, 0, index, &lane);
}

/*
 * value: 16 bits of block, 16 of length - 1, 2 of kind, 1 that a SLAB has the right
 * length, 5 of its class, 24 of generation.
 */
static void edit_lane_word(const struct edit *edit, uint32_t file)
{
	uint64_t block = edit->value & 0xffff;
	uint64_t word = edit->value >> 16 & 0xffff;
	uint64_t base = file * pool_super()->segment_size;

	word |= (edit->value >> 32 & 3) << DP_WORD_KIND_SHIFT;
	if ((word >> DP_WORD_KIND_SHIFT) == DP_KIND_SLAB && edit->value >> 34 & 1)
		word = (word & ~0x3ffffull) | (edit->value >> 35 & 31) << 12 | 15;
	word |= (edit->value >> 40) << DP_WORD_GEN_SHIFT;
	word = format_word_sealed(seed_now(), block_in_pool(file, block), word);
	if (edit->flags & EDIT_USE)
		use_page(file, block / DP_PAGE_WORDS);
	add_entry(edit, base + format_word_offset(pool_super()->segment_size,
						  block), word);
}

/* value: 32 bits of block, 16 of slot, 16 of generation. */
static void edit_lane_root(const struct edit *edit)
{
	uint32_t slot = (edit->value >> 32 & 0xffff) % DP_ROOTS;
	uint64_t word = (edit->value & 0xffffffff) | edit->value >> 48 << 32;

	add_entry(edit, root_offset(slot) + offsetof(struct dp_root, word),
		  format_root_sealed(seed_now(), slot, word));
}

/* ------------------------------------------------------------------ slabs */

/* The word of a slab at an offset in a segment. */
static void put_slab_word(uint32_t file, uint64_t offset, uint64_t word, bool sealed)
{
	if (sealed)
		word = format_slab_sealed(seed_now(), offset +
					  file * pool_super()->segment_size,
					  word | 1ull << 47);
	if (offset + sizeof(word) <= MACHINE_FILE_MAX)
		machine_write(file, offset, &word, sizeof(word));
}

/* All words that a slab can have; most classes have fewer. */
static void make_slab(const struct edit *edit, uint32_t file, uint64_t block)
{
	uint64_t offset = format_word_offset(pool_super()->segment_size, block), word;

	use_page(file, block / DP_PAGE_WORDS);
	word = 15 | edit->field % 40ull << 12 | 3ull << DP_WORD_KIND_SHIFT |
	       1ull << DP_WORD_GEN_SHIFT;
	word = format_word_sealed(seed_now(), block_in_pool(file, block), word);
	machine_write(file, offset, &word, sizeof(word));
	for (uint32_t i = 0; i < 87; i++)
		put_slab_word(file, block * DP_BLOCK_SIZE + i * 8, 0, true);
}

static void edit_slab(const struct edit *edit, uint32_t file)
{
	uint64_t block = edit->index & 0xffff;
	uint32_t word = (edit->index >> 16) % 88;

	fuzz_log("  file %u, slab at block %llu, word %u = 0x%llx%s%s", file,
		 (unsigned long long)block, word, (unsigned long long)edit->value,
		 edit->flags & EDIT_USE ? ", made" : "",
		 edit->flags & EDIT_SEAL ? ", sealed" : "");
	if (edit->flags & EDIT_USE)
		make_slab(edit, file, block);
	if (word)
		put_slab_word(file, block * DP_BLOCK_SIZE + (word - 1) * 8,
			      edit->value, edit->flags & EDIT_SEAL);
}

/* ------------------------------------------------- bytes, files, the machine */

/*
 * Returns `offset` and `*size`, reduced so that the range is within the largest
 * metadata.
 */
static uint64_t in_metadata(uint64_t offset, uint64_t *size)
{
	offset %= DP_META_SIZE_MAX;
	*size = dp_min(*size, DP_META_SIZE_MAX - offset);
	return offset;
}

/* value: 24 bits of offset, 24 of size, 8 of file. */
static void edit_copy(const struct edit *edit, uint32_t file)
{
	uint64_t size = edit->value >> 24 & 0xffff;
	uint64_t to = in_metadata(edit->index, &size);
	uint64_t from = in_metadata(edit->value & 0xffffff, &size);
	uint32_t from_file = (edit->value >> 48) % MACHINE_FILES;

	fuzz_log("  file %u, 0x%llx: %llu bytes from file %u, 0x%llx", file,
		 (unsigned long long)to, (unsigned long long)size, from_file,
		 (unsigned long long)from);
	machine_write(file, to, memory(from_file) + from, size);
}

static void edit_bytes(const struct edit *edit, uint32_t file)
{
	bool zero = edit->what % EDIT_KINDS == EDIT_ZERO;
	uint64_t size = zero ? edit->value : edit->field % 8u + 1;
	uint64_t offset = in_metadata(edit->index, &size);

	fuzz_log("  file %u, 0x%llx: %llu bytes of %s%llx", file,
		 (unsigned long long)offset, (unsigned long long)size,
		 zero ? "zero, not " : "0x", (unsigned long long)edit->value);
	machine_write(file, offset, zero ? NULL : &edit->value, size);
}

/* Replaces the attributes and the metadata of file `to` by those of file `from`. */
static void copy_file(uint32_t to, uint32_t from)
{
	*machine_inode(to) = *machine_inode(from);
	machine_write(to, 0, machine_memory(from), DP_META_SIZE_MAX);
}

/* A hole reads as zeroes. */
static void set_hole(uint32_t file, uint32_t chunk, bool is_hole)
{
	machine_inode(file)->hole[chunk] = is_hole;
	if (is_hole)
		machine_write(file, (uint64_t)chunk << DP_CHUNK_SHIFT, NULL,
			      DP_CHUNK_SIZE);
}

static void edit_file(const struct edit *edit, uint32_t index)
{
	struct machine_inode *file = machine_inode(index);

	fuzz_log("  file %u: attribute %u = 0x%llx", index, edit->field % 7,
		 (unsigned long long)edit->value);
	switch (edit->field % 7) {
	case 0:
		file->size = dp_min(edit->value, MACHINE_FILE_MAX);
		break;
	case 1:
		file->there = edit->value & 1;
		break;
	case 2:
		set_hole(index, edit->value % MACHINE_CHUNKS,
			 edit->value >> 32 & 1);
		break;
	case 3:
		copy_file(index, edit->value % MACHINE_FILES);
		break;
	case 4:
		file->shared = edit->value & 1;
		break;
	case 5:
		machine.extra_files = edit->value % 3;
		break;
	case 6:
		file->copies = edit->value;
		break;
	}
}

static void edit_poison(const struct edit *edit, uint32_t file)
{
	if (machine.poisons == MACHINE_POISONS)
		return;
	fuzz_log("  file %u: poison at 0x%x, %llu bytes", file, edit->index,
		 (unsigned long long)edit->value);
	machine.poison[machine.poisons++] = (struct machine_poison) {
		file, edit->index, edit->value & 0xffffff
	};
}

static void edit_machine(const struct edit *edit)
{
	fuzz_log("  machine: %u = 0x%llx, %u", edit->field % 5,
		 (unsigned long long)edit->value, edit->index);
	switch (edit->field % 5) {
	case 0:
		machine.locked_elsewhere = edit->value & 1;
		machine.byte_owner = (int)(edit->value >> 1 & 0xff) - 1;
		break;
	case 1:
		machine_set_boot(edit->value);
		break;
	case 2:
		machine.pid = edit->value >> 1 & 0x7fff;
		machine.has_rdma = edit->value & 1;
		break;
	case 3:
		machine.flushes_to_failure = edit->value % 64;
		break;
	case 4:
		if (machine.bads < MACHINE_BADS)
			machine.bad[machine.bads++] = (struct machine_bad) {
				edit->value, edit->index
			};
		break;
	}
}

void edit_apply(const struct edit *edit)
{
	uint32_t file = edit->segment % MACHINE_FILES;

	switch (edit->what % EDIT_KINDS) {
	case EDIT_SUPER:
		edit_super(edit, file);
		break;
	case EDIT_WORD:
		edit_word(edit, file);
		break;
	case EDIT_ROOT:
		edit_root(edit, file);
		break;
	case EDIT_LANE:
		edit_lane(edit, file);
		break;
	case EDIT_LANE_WORD:
		edit_lane_word(edit, file);
		break;
	case EDIT_LANE_ROOT:
		edit_lane_root(edit);
		break;
	case EDIT_COPY:
		edit_copy(edit, file);
		break;
	case EDIT_ZERO:
	case EDIT_BYTES:
		edit_bytes(edit, file);
		break;
	case EDIT_FILE:
		edit_file(edit, file);
		break;
	case EDIT_POISON:
		edit_poison(edit, file);
		break;
	case EDIT_MACHINE:
		edit_machine(edit);
		break;
	case EDIT_PAGES:
		edit_pages(edit, file);
		break;
	case EDIT_SLAB:
		edit_slab(edit, file);
		break;
	}
}
