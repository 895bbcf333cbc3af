/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * docs/format.md's arithmetic, done a second time: nothing of layout.c, so that
 * a mistake there is not made here as well.
 */
#ifndef FUZZ_FORMAT_H
#define FUZZ_FORMAT_H

#include "media/layout.h"

uint64_t format_seed(const uint8_t uuid[16]);
uint64_t format_super_check(const struct dp_super *super);
/* Of the segment set, which stands behind the check of the rest. */
uint64_t format_set_check(const struct dp_super *super);
/* How many bytes of each segment are metadata, and where the table begins. */
uint64_t format_meta_size(uint64_t segment_size);
uint64_t format_table_offset(uint64_t segment_size);
/* Where the word of a block of the segment stands, from the segment's begin. */
uint64_t format_word_offset(uint64_t segment_size, uint64_t block);
/* The word with the check that it should have. block: in the pool. */
uint64_t format_word_sealed(uint64_t seed, uint64_t block, uint64_t word);
/* The same of a word of the page bitmap. block: the segment's first one in the pool,
 * and as many more as words stand before. */
uint64_t format_pages_sealed(uint64_t seed, uint64_t block, uint64_t word);
uint64_t format_root_sealed(uint64_t seed, uint32_t slot, uint64_t word);
uint64_t format_name_check(uint64_t seed, uint32_t slot, const char name[48]);
/* Over min(count, 248) entries: that is for the caller to look at. */
uint64_t format_lane_check(uint64_t seed, uint32_t index,
			   const struct dp_lane *lane);

#endif
