/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of docs/format.md, implemented a second time and without any function
 * of lib/media/layout.c, so that a mistake there is not repeated here.
 */
#ifndef FUZZ_FORMAT_H
#define FUZZ_FORMAT_H

#include "media/layout.h"

uint64_t format_seed(const uint8_t uuid[16]);
uint64_t format_super_check(const struct dp_super *super);
/* The check of the segment set, which follows the check of the rest. */
uint64_t format_set_check(const struct dp_super *super);
/* The bytes of metadata in each segment, and the offset of the table in the segment. */
uint64_t format_meta_size(uint64_t segment_size);
uint64_t format_table_offset(uint64_t segment_size);
/* The offset in the segment of the descriptor word of that block of the segment. */
uint64_t format_word_offset(uint64_t segment_size, uint64_t block);
/* Returns the word with its check. block: in the pool. */
uint64_t format_word_sealed(uint64_t seed, uint64_t block, uint64_t word);
/*
 * Returns a word of the page bitmap with its check. block: the number in the pool of
 * the segment's first block, plus the index of the word.
 */
uint64_t format_pages_sealed(uint64_t seed, uint64_t block, uint64_t word);
/* Returns a word of a slab with its check. addr: of the word in the pool. */
uint64_t format_slab_sealed(uint64_t seed, uint64_t addr, uint64_t word);
uint64_t format_root_sealed(uint64_t seed, uint32_t slot, uint64_t word);
uint64_t format_name_check(uint64_t seed, uint32_t slot, const char name[48]);
/* Covers min(count, 248) entries. Whether count is valid is for the caller to test. */
uint64_t format_lane_check(uint64_t seed, uint32_t index,
			   const struct dp_lane *lane);

#endif
