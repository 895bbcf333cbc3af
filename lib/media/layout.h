/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole on-media format, version 3. docs/format.md describes it byte by
 * byte and changes with this file. Little-endian throughout; this library runs
 * on little-endian machines only (asserted below).
 *
 * Every segment begins with its metadata, in chunk 0 (2 MiB):
 *
 *	0x000000  superblock: two alternating halves, a page each
 *	0x002000  page bitmap of the descriptor table
 *	0x010000  root directory	(segment 0 only)
 *	0x020000  redo lanes		(segment 0 only)
 *	0x060000  zero
 *	0x0f0000  descriptor table, of segments up to 512 MiB
 *	0x1f0000  copy of the superblock
 *	0x1f2000  zero, to the end of the chunk
 *
 * The table has one 8-byte word per block of the segment, so a segment of 1 GiB
 * has 2 MiB of it: its table is chunk 1. The words of the metadata's own blocks are
 * not used.
 */
#ifndef DP_LAYOUT_H
#define DP_LAYOUT_H

#include "util/util.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the format is little-endian and is used in place"
#endif

#define DP_BLOCK_SHIFT		12
#define DP_BLOCK_SIZE		(1ull << DP_BLOCK_SHIFT)
#define DP_CHUNK_SHIFT		21
#define DP_CHUNK_SIZE		(1ull << DP_CHUNK_SHIFT)
#define DP_CHUNK_BLOCKS		(DP_CHUNK_SIZE >> DP_BLOCK_SHIFT)
#define DP_SEGMENT_SIZE_MIN	(32ull << 20)
#define DP_SEGMENT_SIZE_MAX	(1024ull << 20)
#define DP_SEGMENT_SIZE_DEFAULT	(256ull << 20)
#define DP_NVDIMMS_MAX		64u	/* of one region */
#define DP_SEGMENTS_MAX		16384u

#define DP_SUPER_OFFSET		0x000000ull
#define DP_SUPER_SIZE		(2 * DP_BLOCK_SIZE)
#define DP_PAGES_OFFSET		0x002000ull
#define DP_ROOTS_OFFSET		0x010000ull
#define DP_LANES_OFFSET		0x020000ull
#define DP_LANES_END		0x060000ull
#define DP_TABLE_OFFSET		0x0f0000ull	/* of block 0's word, unused */
#define DP_COPY_OFFSET		0x1f0000ull

/* The largest segment whose table is in chunk 0. */
#define DP_SMALL_SEGMENT_MAX	(512ull << 20)
#define DP_META_SIZE_MAX	(2 * DP_CHUNK_SIZE)

/*
 * How much of a segment is metadata, and where its table begins. segment_size is the
 * pool's: a short segment is laid out as the others.
 */
static inline uint64_t dp_layout_meta_size(uint64_t segment_size)
{
	return segment_size > DP_SMALL_SEGMENT_MAX ? DP_META_SIZE_MAX :
						     DP_CHUNK_SIZE;
}

static inline uint64_t dp_layout_table_offset(uint64_t segment_size)
{
	return segment_size > DP_SMALL_SEGMENT_MAX ? DP_CHUNK_SIZE :
						     DP_TABLE_OFFSET;
}

/* ------------------------------------------------------- descriptor words */
/*
 *	 63        36 35        20 19   18 17            0
 *	+------------+------------+-------+---------------+
 *	| generation |   check    | kind  |  length - 1   |
 *	+------------+------------+-------+---------------+
 *
 * length is in blocks. In a SLAB word bits 0-11 are length - 1, which is always
 * DP_SLAB_BLOCKS - 1, and bits 12-17 are the size class. check is over the other bits,
 * the block's index in the pool and the pool's uuid; a word of zeroes is never valid
 * (D6).
 *
 * The 28 bits of the generation may wrap around: an open goes on counting from them,
 * and they are compared with the words of roots alone, for which media/root.c keeps
 * D14. A handle has the epoch too, and 40 bits that are compared in memory.
 */
enum dp_kind {
	DP_KIND_INVALID = 0,
	DP_KIND_FREE = 1,	/* and each block of an extent but the first (D5) */
	DP_KIND_DATA = 2,
	DP_KIND_SLAB = 3,
};

#define DP_WORD_LENGTH_BITS	18
#define DP_WORD_KIND_SHIFT	18
#define DP_WORD_KIND_MASK	3ull
#define DP_WORD_CHECK_SHIFT	20
#define DP_WORD_CHECK_MASK	0xffffull
#define DP_WORD_BODY		(~(DP_WORD_CHECK_MASK << DP_WORD_CHECK_SHIFT))
#define DP_WORD_GEN_SHIFT	36
#define DP_WORD_GEN_MASK	((1ull << 28) - 1)

/* Of a SLAB; media/slab.h has the rest of a slab's format. */
#define DP_SLAB_BLOCKS		16u
#define DP_SLAB_CLASSES		40u
#define DP_SLAB_LENGTH_BITS	12

/* A descriptor word, taken apart. */
struct dp_word {
	enum dp_kind kind;
	uint32_t blocks;
	uint32_t gen;
	uint32_t class;			/* of a SLAB; otherwise 0 */
};

/*
 * A check of 16 bits that depends on each bit of the word, of the block's number and of
 * the seed. An open computes it for each word of each used page, so it takes only a
 * third of the time of a general hash: two rounds of a multiplication by an odd
 * constant, which carries each bit upwards, and a shift, which brings the high half
 * down.
 */
static inline uint64_t dp_word_check(uint64_t seed, uint64_t block, uint64_t body)
{
	uint64_t x = (body ^ seed) + block * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	return x >> 48;
}

static inline uint64_t dp_word_check_field(uint64_t seed, uint64_t block, uint64_t raw)
{
	return dp_word_check(seed, block, raw & DP_WORD_BODY) << DP_WORD_CHECK_SHIFT;
}

/* The word for a block; seed is dp_layout_seed() of the pool's uuid. Inline, because
 * each KEEP and RETIRE calls it. */
static inline uint64_t dp_word_encode(uint64_t seed, uint64_t block,
				      struct dp_word word)
{
	uint64_t raw;

	assert(word.kind == DP_KIND_FREE || word.kind == DP_KIND_DATA ||
	       word.kind == DP_KIND_SLAB);
	assert(word.blocks >= 1 && word.blocks <= 1u << DP_WORD_LENGTH_BITS);
	assert(word.kind != DP_KIND_FREE || word.blocks == 1);
	assert(word.kind == DP_KIND_SLAB ?
	       word.blocks == DP_SLAB_BLOCKS && word.class < DP_SLAB_CLASSES :
	       !word.class);
	raw = (word.blocks - 1) | (uint64_t)word.class << DP_SLAB_LENGTH_BITS |
	      (uint64_t)word.kind << DP_WORD_KIND_SHIFT |
	      (word.gen & DP_WORD_GEN_MASK) << DP_WORD_GEN_SHIFT;
	return raw | dp_word_check_field(seed, block, raw);
}

/* Decode a word without testing its check. False: no pool can have this word. */
bool dp_word_unpack(uint64_t raw, struct dp_word *ret_word);

/* Decode a word. False: as above, or its check fails for this block and pool. */
bool dp_word_decode(uint64_t seed, uint64_t block, uint64_t raw,
		    struct dp_word *ret_word);

/* Words in a page of the table: those of the blocks of a chunk. */
#define DP_PAGE_WORDS		(DP_BLOCK_SIZE / 8)

/*
 * Scan a page of the table that has the words of the blocks from `first` on. Bit b % 64
 * of ret_other[b / 64] is set unless the word of block first + b is a valid FREE word
 * with generation 0.
 */
void dp_words_find(uint64_t seed, uint64_t first,
		   const uint64_t page[DP_PAGE_WORDS],
		   uint64_t ret_other[DP_PAGE_WORDS / 64]);
/* The same for a CPU without wide multiplications. */
void dp_words_find_plain(uint64_t seed, uint64_t first,
			 const uint64_t page[DP_PAGE_WORDS],
			 uint64_t ret_other[DP_PAGE_WORDS / 64]);

/*
 * The byte offset of a block's word in the table. Within each 4 KiB page the words are
 * transposed, so that the words of adjacent blocks never share a cache line: writing
 * one line back twice in a row costs 1.8 times as much.
 */
static inline uint64_t dp_word_offset(uint64_t block)
{
	uint64_t page = block >> 9, in_page = block & 511;

	return page * DP_BLOCK_SIZE + ((in_page & 63) * 8 + (in_page >> 6)) * 8;
}

/* The inverse: the block whose word is at this (aligned) offset. */
static inline uint64_t dp_word_block(uint64_t offset)
{
	uint64_t page = offset >> DP_BLOCK_SHIFT, slot = (offset >> 3) & 511;

	return page * 512 + ((slot & 7) << 6) + (slot >> 3);
}

static_assert(DP_TABLE_OFFSET + DP_SMALL_SEGMENT_MAX / DP_BLOCK_SIZE * 8 ==
	      DP_COPY_OFFSET, "a table in chunk 0 ends where the copy begins");
static_assert(DP_SEGMENT_SIZE_MAX / DP_BLOCK_SIZE * 8 == DP_CHUNK_SIZE,
	      "the largest table is a chunk");
static_assert(DP_CHUNK_BLOCKS == DP_PAGE_WORDS,
	      "a page of the table has the words of a chunk");
static_assert(DP_SEGMENT_SIZE_MAX / DP_BLOCK_SIZE <=
	      1ull << DP_WORD_LENGTH_BITS, "a length fits its field");

/* ------------------------------------------------------------- page bitmap */
/*
 * Which pages of the table are used: one bit for each page, 47 of them in each word;
 * bit 47 is always 1. Bits 48-63 of word i are a check over the others, computed like
 * the check of the descriptor word of the segment's block i. A page whose bit is clear
 * has not been written since the pool was created: its bytes are ignored, and all its
 * words count as FREE with generation 0 (D19).
 */
#define DP_PAGES_WORD_BITS	47u
#define DP_PAGES_MAX		(DP_SEGMENT_SIZE_MAX / DP_CHUNK_SIZE)
#define DP_PAGES_WORDS		((DP_PAGES_MAX + DP_PAGES_WORD_BITS - 1) / \
				 DP_PAGES_WORD_BITS)

/* block: for word i of the bitmap, the index in the pool of the segment's block i. */
uint64_t dp_pages_encode(uint64_t seed, uint64_t block, uint64_t bits);
/* False: the word's check fails. */
bool dp_pages_decode(uint64_t seed, uint64_t block, uint64_t raw,
		     uint64_t *ret_bits);

static_assert(DP_PAGES_WORDS * 8 <= DP_BLOCK_SIZE, "the bitmap is in one page");

/* ------------------------------------------------------------- superblock */

#define DP_MAGIC		"DAXPIN\r\n"
#define DP_VERSION		3u
#define DP_VERSION_DEVELOPMENT	2u	/* versions up to this one were never
					   released, and are refused */
#define DP_RDMA_CONTEXTS_MAX	20

/* Flags of segment 0's superblock. The other segments have only UNCLEAN. */
#define DP_SUPER_UNCLEAN	0x1u	/* open for writing, or the owner died. In a
					   later segment: the open of its epoch has not
					   closed it */
#define DP_SUPER_CREATING	0x2u	/* create has not finished */
#define DP_SUPER_OWNER_UNKNOWN	0x4u	/* restored from the copy: the owner record of
					   the lost page is unknown */
#define DP_SUPER_OPENING	0x8u	/* the open of this epoch has not written
					   the superblock of every segment */
#define DP_SUPER_ADOPTING	0x10u	/* with OPENING: the open is the first one of
					   a copy of a pool. The segments that it has
					   not written record the original files */

#define DP_SUPER_FLAGS		0x1fu	/* all flags of this version */
#define DP_SUPER_COUNTS_MAX	(1ull << 63)	/* sequence and epoch stay below */
/* If a count has reached this value the pool is opened only for reading, so that no
 * later open or superblock write reaches the maximum. */
#define DP_SUPER_COUNTS_END	(DP_SUPER_COUNTS_MAX - (1ull << 20))

/* The boot id was read from the kernel, not from a file mounted over it. */
#define DP_OWNER_BOOT_GENUINE	0x1u
/* A verbs context is in use, but its number is unknown. */
#define DP_OWNER_RDMA_UNKNOWN	0x2u

#define DP_OWNER_FLAGS		0x3u	/* all flags of this version */

/* A thread of the owner had created the verbs context when it was recorded. */
#define DP_CONTEXT_OWN		0x1u

#define DP_CONTEXT_FLAGS	0x1u	/* all flags of this version */

/* A verbs context. The kernel numbers the devices, and the contexts of each device,
 * upwards from 0 and uses no number twice (docs/rdma.md). */
struct dp_rdma_context {
	uint32_t device;		/* its index, which a rename does not change */
	uint32_t number;
	uint32_t flags;
};

/* The process that has the pool open, for the next owner's messages and RDMA check. */
struct dp_owner {
	uint8_t boot_id[16];		/* zero: it could not be read */
	uint64_t pid_namespace;		/* inode number; 0: unknown */
	uint64_t time_namespace;	/* the same */
	uint64_t start_time;		/* clock ticks since boot, in that time
					   namespace; 0: unknown */
	uint32_t pid;			/* in its own namespace */
	uint32_t flags;
	uint32_t contexts;		/* if 0, and without RDMA_UNKNOWN, no DMA
					   outlives the lock */
	uint8_t zero[12];
	struct dp_rdma_context context[DP_RDMA_CONTEXTS_MAX];
};

#define DP_FILE_INODE		0x1u
#define DP_FILE_GENERATION	0x2u
#define DP_FILE_BIRTH		0x4u

/*
 * The file that a segment was written to. A copy of the file has a different identity;
 * equal identities prove nothing. Values that the filesystem does not have are zero.
 */
struct dp_file_id {
	uint32_t known;			/* DP_FILE_...; 0: a slice of a device */
	uint32_t generation;		/* FS_IOC_GETVERSION */
	uint64_t inode;
	uint64_t birth_seconds;
	uint32_t birth_ns;
	uint32_t zero;
};

/* One half of a superblock, a page. Segment 0's describes the pool. The others have the
 * pool's uuid, their index in it, and the open that wrote to them last. In memory it is
 * a value, which any file may read, copy and fill; super.c writes it to media, and
 * check/patch.c when it repairs. */
struct dp_super {
	char magic[8];
	uint32_t version;
	uint32_t flags;
	uint8_t uuid[16];		/* of the pool */
	uint64_t sequence;		/* the valid half with the higher one is used */
	uint64_t epoch;			/* one per open, never used twice (D15) */
	uint64_t open_id;		/* random, because a copy of the pool has the
					   same epochs */
	struct dp_file_id file;		/* of this segment */
	/* Segment 0 only: the last open that wrote to every segment. While segment 0
	   is OPENING, the other segments have the epoch of that open or a later one. */
	uint64_t before_epoch;
	uint64_t before_open_id;
	uint64_t segment_size;
	uint64_t size;			/* of this segment */
	uint64_t pool_size;		/* of all segments, and less than 32 MiB that
					   create did not use; segment 0 only */
	uint32_t index;			/* of this segment */
	uint32_t segments;		/* bits set in segment_set */
	uint64_t set_check;		/* XXH3 of segment_set */
	struct dp_owner owner;		/* segment 0 only */
	/* Segment 0 only, recorded by the last open that found the pool closed. */
	uint64_t nvdimms;		/* a digest of the ids of the pool's NVDIMMs;
					   0: unknown */
	uint64_t dirty_shutdowns[DP_NVDIMMS_MAX];	/* the count of each */
	/* Segment 0 only: the segment that is smaller than segment_size. It was
	   the last one when the pool was created. */
	uint64_t short_size;		/* 0: there is none */
	uint32_t short_index;		/* 0 then */
	uint8_t zero[1060];
	uint64_t check;			/* XXH3 of all the bytes before */
	uint8_t segment_set[DP_SEGMENTS_MAX / 8];	/* segment 0 only (D10) */
};

static_assert(sizeof(struct dp_rdma_context) == 12, "on media");
static_assert(offsetof(struct dp_owner, context) == 64, "on media");
static_assert(sizeof(struct dp_owner) == 304, "on media");
static_assert(offsetof(struct dp_super, uuid) == 16, "on media");
static_assert(offsetof(struct dp_super, sequence) == 32, "on media");
static_assert(sizeof(struct dp_file_id) == 32, "on media");
static_assert(offsetof(struct dp_super, file) == 56, "on media");
static_assert(offsetof(struct dp_super, before_epoch) == 88, "on media");
static_assert(offsetof(struct dp_super, segment_size) == 104, "on media");
static_assert(offsetof(struct dp_super, index) == 128, "on media");
static_assert(offsetof(struct dp_super, set_check) == 136, "on media");
static_assert(offsetof(struct dp_super, owner) == 144, "on media");
static_assert(offsetof(struct dp_super, nvdimms) == 448, "on media");
static_assert(offsetof(struct dp_super, dirty_shutdowns) == 456, "on media");
static_assert(offsetof(struct dp_super, short_size) == 968, "on media");
static_assert(offsetof(struct dp_super, zero) == 980, "on media");
static_assert(offsetof(struct dp_super, check) == 2040, "on media");
static_assert(offsetof(struct dp_super, segment_set) == 2048, "on media");
static_assert(sizeof(struct dp_super) == DP_BLOCK_SIZE, "a page each");
static_assert(2 * sizeof(struct dp_super) == DP_SUPER_SIZE &&
	      DP_SUPER_OFFSET + DP_SUPER_SIZE == DP_PAGES_OFFSET,
	      "the page bitmap follows the superblock");

/* ------------------------------------------------- root directory, segment 0 */

#define DP_ROOTS		1024u
#define DP_ROOT_NAME_MAX	48

/*
 * word: bits 48-63 are a check over the rest, the slot and the uuid. If bit 47 is 0 the
 * root names an extent: bits 0-31 are its block index in the pool, 32-46 the generation
 * (low 15 bits of the descriptor's). Block 0 (the superblock, never an extent) means
 * that the slot is free and its name unused. If bit 47 is 1 the root names an object of
 * a slab: bits 0-39 are its pool address / 16, which is not 0, and 40-46 are 0.
 * DP_ROOT_GONE is the block of a name whose extent or object no longer exists.
 */
struct dp_root {
	char name[DP_ROOT_NAME_MAX];	/* NUL-padded, at least one NUL */
	uint64_t word;
	uint64_t name_check;		/* durable before the word, like the name */
};

#define DP_ROOT_GONE		1u	/* in the superblock, so never an extent */
#define DP_ROOT_GEN_MASK	0x7fffull
#define DP_ROOT_GEN_SHIFT	32
#define DP_ROOT_OBJECT		(1ull << 47)
#define DP_ROOT_OBJECT_SHIFT	4
#define DP_ROOT_OBJECT_MASK	((1ull << 40) - 1)

/* A root word, taken apart. */
struct dp_root_word {
	uint64_t block;			/* in the pool; 0: the root names nothing */
	uint32_t gen;			/* masked; 0 for an object */
	uint64_t object;		/* its pool address, in that block; 0: the root
					   names an extent, or nothing */
};

static inline struct dp_root_word dp_root_of_object(uint64_t addr)
{
	return (struct dp_root_word) { addr >> DP_BLOCK_SHIFT, 0, addr };
}

/* Bits 0-47 of the word; and the reverse, for bits that dp_root_pack() has returned or
 * dp_root_decode() has tested. */
static inline uint64_t dp_root_pack(struct dp_root_word word)
{
	if (word.object)
		return DP_ROOT_OBJECT | word.object >> DP_ROOT_OBJECT_SHIFT;
	return word.block | (word.gen & DP_ROOT_GEN_MASK) << DP_ROOT_GEN_SHIFT;
}

static inline struct dp_root_word dp_root_unpack(uint64_t bits)
{
	if (bits & DP_ROOT_OBJECT)
		return dp_root_of_object((bits & DP_ROOT_OBJECT_MASK) <<
					 DP_ROOT_OBJECT_SHIFT);
	return (struct dp_root_word) {
		bits & UINT32_MAX, bits >> DP_ROOT_GEN_SHIFT & DP_ROOT_GEN_MASK, 0
	};
}

static_assert(sizeof(struct dp_root) == 64, "on media");
static_assert(DP_ROOTS_OFFSET + DP_ROOTS * sizeof(struct dp_root) ==
	      DP_LANES_OFFSET, "roots end where the lanes begin");
static_assert(DP_SEGMENTS_MAX * (DP_SEGMENT_SIZE_MAX / DP_BLOCK_SIZE) <=
	      1ull << 32, "a block index fits a root word");
static_assert(DP_SEGMENTS_MAX * DP_SEGMENT_SIZE_MAX >> DP_ROOT_OBJECT_SHIFT <=
	      DP_ROOT_OBJECT_MASK + 1, "so does the address of an object");

/* ------------------------------------------------------ redo lanes, segment 0 */

#define DP_LANES		64u
#define DP_LANE_ENTRIES		248u

struct dp_lane_entry {
	uint64_t addr;			/* pool address of an 8-byte word */
	uint64_t value;
};

/*
 * A lane with a valid check is committed, and is replayed while done == sequence - 1.
 * An empty lane has count 0, sequence == done and a valid check.
 *
 * An entry has an address without a generation. What it changes is not reused before
 * the lane is done: the publish claims or holds it until then (D2, D4), and an open for
 * writing, also a degraded one, makes all lanes done or fails (D11).
 */
struct dp_lane {
	uint64_t sequence;		/* never used twice in a lane */
	uint64_t epoch;
	uint32_t count;
	uint32_t zero_0;
	uint64_t check;			/* XXH3 of the entries, seeded with XXH3 of
					   the 24 bytes before, seeded with the
					   uuid's seed ^ lane number */
	uint8_t zero_1[32];
	uint64_t done;			/* a cache line of its own */
	uint8_t zero_2[56];
	struct dp_lane_entry entry[DP_LANE_ENTRIES];
};

static_assert(offsetof(struct dp_lane, done) == 64, "on media");
static_assert(offsetof(struct dp_lane, entry) == 128, "on media");
static_assert(sizeof(struct dp_lane) == DP_BLOCK_SIZE, "on media");
static_assert(DP_LANES_OFFSET + DP_LANES * sizeof(struct dp_lane) ==
	      DP_LANES_END, "on media");

/* ------------------------------------------------------------------ checks */

/* The end of each sentence about damaged metadata. */
#define DP_UNTOUCHED	"; the pool was left untouched: `daxpin check` shows what can be repaired"

/* A digest of bytes in memory. */
uint64_t dp_layout_digest(const void *bytes, size_t size);

/* The seed of all checks of a pool. */
uint64_t dp_layout_seed(const uint8_t uuid[16]);

void dp_super_seal(struct dp_super *super);
bool dp_super_is_whole(const struct dp_super *super);
uint64_t dp_lane_check(uint64_t seed, uint32_t index, const struct dp_lane *lane);
uint64_t dp_root_encode(uint64_t seed, uint32_t slot, struct dp_root_word word);
bool dp_root_decode(uint64_t seed, uint32_t slot, uint64_t raw,
		    struct dp_root_word *ret_word);
uint64_t dp_root_name_check(uint64_t seed, uint32_t slot,
			    const char name[DP_ROOT_NAME_MAX]);

#endif
