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
/* Where the word of a block of the segment stands, from the segment's begin. */
uint64_t format_word_offset(uint64_t block);
/* The word with the check that it should have. block: in the pool. */
uint64_t format_word_sealed(uint64_t seed, uint64_t block, uint64_t word);
uint64_t format_root_sealed(uint64_t seed, uint32_t slot, uint64_t word);
uint64_t format_name_check(uint64_t seed, uint32_t slot, const char name[48]);
/* Over min(count, 248) entries: that is for the caller to look at. */
uint64_t format_lane_check(uint64_t seed, uint32_t index,
			   const struct dp_lane *lane);

#endif
